"""The cost of each cut, worked out by hand and held against runs; and which cut is chosen."""

import pandas as pd
import pytest
from split_shapes import class_rows, save_family, split_job, split_parts

from fedtailor.assembly import assemble
from fedtailor.errors import SettingError
from fedtailor.protocols.split.planning import CutCost, Means, Work, choose, cut_costs, measured_flops, slowest
from fedtailor.running import run

MEANS = Means(client_flops=2e6, server_flops=8e6, bandwidth=1e5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_family("bert", tmp_path_factory.mktemp("families"))


def cost(cut, *, client=0.0, server=0.0, link=0.0, memory=100, fits=True):
    return CutCost(
        cut=cut,
        client_seconds=client,
        server_seconds=server,
        link_seconds=link,
        up_bytes=0,
        down_bytes=0,
        memory_bytes=memory,
        fits=fits,
    )


def test_seconds_by_hand(folder):
    parts = split_parts(folder, "bert", labels="with-server", local={"steps": None, "epochs": 1.0})
    found = cut_costs(parts.protocol.terms, Work(examples=10, tokens_per_example=6.0), MEANS, together=3)
    assert list(found) == [1, 2, 3, 4]
    # a block: four matrices 16 x 16, two 16 x 32, their biases, two norms; LoRA of rank 2 beside query and value; 60 tokens
    block = 4 * 16 * 16 + 2 * 16 * 32 + 4 * 16 + 32 + 16 + 4 * 16
    lora = 2 * 2 * (16 * 2)
    per_block = 60 * (4 * block + 6 * lora)
    frozen_norm = 60 * 4 * 2 * 16  # behind the embeddings
    assert found[1].client_seconds == pytest.approx((per_block + frozen_norm) / 2e6)
    assert found[4].client_seconds - found[1].client_seconds == pytest.approx(3 * per_block / 2e6)
    assert found[1].server_seconds - found[2].server_seconds == pytest.approx(3 * per_block / 8e6)  # three share the server
    for each in found.values():
        assert each.link_seconds == pytest.approx((each.up_bytes + each.down_bytes) / 1e5)
        assert each.seconds == pytest.approx(each.client_seconds + each.server_seconds + each.link_seconds)
        assert each.up_bytes > 60 * 16 * 4
    assert found[2].up_bytes - found[1].up_bytes == pytest.approx(lora * 4, abs=600)  # its weights, and their names


@pytest.mark.parametrize(("cut", "labels"), [(1, "u-shaped"), (4, "with-server")])
def test_bytes_of_each_cut_are_those_of_a_run(folder, cut, labels, tmp_path):
    job = split_job(folder, "bert", cut=2, labels=labels, local={"steps": None}, changes={"stop__rounds": 1})
    parts = assemble(job, given=class_rows())
    result = run(job.replace("protocol.cut", cut), data=class_rows(), out=tmp_path / "r")
    rows = pd.read_parquet(result.folder / "clients.parquet").set_index("client")
    for client, own in parts.clients.items():
        work = Work(examples=len(own.train), tokens_per_example=float(own.train.sizes_N.float().mean()))
        found = cut_costs(parts.protocol.terms, work, MEANS)[cut]
        assert found.up_bytes == pytest.approx(rows.loc[client, "up_bytes"], rel=0.02)
        assert found.down_bytes == pytest.approx(rows.loc[client, "down_bytes"], rel=0.02)


def test_the_best_cut():
    # the client is slow: the least is the best, and 2 is more than 5 % slower
    slow = {1: cost(1, client=10, server=3), 2: cost(2, client=20, server=2)}
    assert choose(slow).cut == 1
    assert "13 s, most of it for computing at the client: the least of all" in choose(slow).reason
    # the server is slow: the deepest; in 3 s of 100 the deeper cut is preferred for what it does not tell
    assert choose({1: cost(1, server=30), 2: cost(2, server=20), 3: cost(3, server=10)}).cut == 3
    near = {1: cost(1, client=1, link=100), 2: cost(2, client=4, link=100), 3: cost(3, client=9, link=100)}
    assert choose(near).cut == 2
    assert "cut 1 is the fastest with 101 s, and this one, within 5 % of it, reveals less of the texts" in choose(near).reason
    tight = {1: cost(1, server=30), 2: cost(2, server=20), 3: cost(3, server=10, fits=False)}
    assert choose(tight).cut == 2
    assert "1 cuts take more memory" in choose(tight).reason
    assert choose({1: "no", 2: cost(2, client=1)}).cut == 2
    with pytest.raises(SettingError, match="no cut fits in the client's memory: the least takes 100 bytes"):
        choose({1: cost(1, fits=False), 2: cost(2, fits=False, memory=200)})


def test_the_slowest_client_counts():
    of_clients = {
        "a": {1: cost(1, client=5), 2: cost(2, client=9), 3: "not here"},
        "b": {1: cost(1, client=7), 2: cost(2, client=8, fits=False), 3: cost(3)},
    }
    found = slowest(of_clients)
    assert found[1].client_seconds == 7
    assert not found[2].fits  # what does not fit at one of them fits at none
    assert found[3] == "not here"


def test_cuts_that_cannot_be_are_reported(folder):
    home = {"personalization": {"kind": "fedper", "home": ["*.layer.1.*"]}}
    parts = split_parts(folder, "bert", cut=2, changes=home)
    found = cut_costs(parts.protocol.terms, Work(examples=10, tokens_per_example=6.0), MEANS)
    assert "weights home that lie in the server's part" in found[1]
    assert [cut for cut, each in found.items() if isinstance(each, CutCost)] == [2, 3]


def test_measuring_changes_nothing(folder):
    parts = split_parts(folder, "bert")
    before = parts.worker.tensors()
    speed = measured_flops(parts.protocol.terms, parts.clients["client-00"].train)
    assert speed > 1e5
    assert all(bool((value == before[name]).all()) for name, value in parts.worker.tensors().items())
    assert all(parameter.grad is None for parameter in parts.worker.model.parameters())
