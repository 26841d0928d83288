"""Messages past the limit go tensor by tensor: the same bits, and nothing half added."""

from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd
import pytest
import torch
from jobs import tiny_job, tiny_rows
from safetensors.torch import load_file

from fedtailor import tensors
from fedtailor.aggregation import FedAvg
from fedtailor.aggregation.mean import mean_delta
from fedtailor.assembly import assemble
from fedtailor.federation import LocalFederation
from fedtailor.learning.training import one_by_one
from fedtailor.protection import Gate
from fedtailor.protocols import AveragingRun
from fedtailor.running import run
from fedtailor.tensors import Lazy

FULL = {"kind": "full"}


@pytest.fixture
def streaming(monkeypatch):
    """Let every message be past the limit."""
    monkeypatch.setattr(tensors, "LARGE_BYTES", 0)


def results(folder):
    """Return all tensors that a run wrote, and the tables without what is a matter of time and memory."""
    files = sorted([*folder.glob("checkpoint/*/*.safetensors"), *folder.glob("model/*.safetensors")])
    weights = {f"{path.relative_to(folder)}:{name}": value for path in files for name, value in load_file(path).items()}
    tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("rounds", "clients", "evaluations")}
    varying = ["seconds", "exchange_seconds", "peak_bytes", "up_bytes"]  # bytes of facts differ with the digits of seconds
    return weights, {name: table.drop(columns=varying, errors="ignore") for name, table in tables.items()}


@pytest.mark.parametrize(
    "changes",
    [
        {"tuning": FULL},
        {"tuning": FULL, "protocol__wire": "bfloat16", "protocol__local__keep_optimizer": True},
        {"tuning": FULL, "protocol__local__proximal": 0.1, "protocol__aggregation": {"kind": "fedadam"}},
        {
            "tuning": FULL,
            "protocol__local": {"optimizer": "sgd", "learning_rate": 0.1, "batch_size": 4},
            "protocol__aggregation": {"kind": "scaffold"},
        },
        {"tuning": FULL, "personalization": {"kind": "ditto"}},
        {"tuning": {"kind": "lora", "rank": 2}, "personalization": {"kind": "fedrep", "home": ["lora_A"]}},
        {"tuning": {"kind": "lora", "rank": 2}, "protocol__aggregation": {"kind": "rolora"}},
    ],
    ids=["full", "bfloat16", "fedprox-fedadam", "scaffold", "ditto", "fedrep", "rolora"],
)
@pytest.mark.few(3)
def test_a_run_by_streams_has_the_same_bits(changes, tiny_backbone_folder, tmp_path, monkeypatch):
    job = tiny_job(tiny_backbone_folder, stop__rounds=2, **changes)
    run(job, data=tiny_rows(), out=tmp_path / "whole")
    monkeypatch.setattr(tensors, "LARGE_BYTES", 0)
    run(job, data=tiny_rows(), out=tmp_path / "streams")
    (whole, tables), (streams, others) = (results(tmp_path / side) for side in ("whole", "streams"))
    assert whole.keys() == streams.keys()
    assert whole
    assert all(torch.equal(whole[name], streams[name]) for name in whole)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, others[name], check_exact=True)


@dataclass(frozen=True, kw_only=True)
class HoldsAll(FedAvg):
    """Averages once all updates are there, as a median would."""

    kind: Literal["fedavg"] = "fedavg"

    def combine(self, updates, params, state):
        held = list(updates)
        assert all(isinstance(update.delta, Lazy) for update in held)
        return super().combine(held, params, state)


def one_round(folder, spoil=None, *, asked=None, aggregation=None):
    """Return the shared weights after one round of full tuning, and the names of failed clients.

    Args:
        spoil: is given each client's id and its model before it answers, trained.
        asked: those whose answers are not dropped before they are sent; None: all.
    """
    parts = assemble(tiny_job(folder, tuning=FULL, protocol__local__steps=2), given=tiny_rows())
    protocol = (
        parts.protocol
        if aggregation is None
        else AveragingRun(settings=replace(parts.protocol.settings, aggregation=aggregation))
    )

    class Half:
        def __init__(self, client):
            self.client, self.half = client, protocol.client(parts.clients[client])

        def answer(self, message):
            answer = one_by_one(self.half.answer(message))
            if spoil is not None:
                spoil(self.client, parts.worker)
            if asked is not None and self.client not in asked:
                raise RuntimeError("lost")
            return answer

    federation = LocalFederation({c: Half(c) for c in parts.clients}, parts.sampler.clients, Gate(manifest=parts.manifest), print)
    round = next(protocol.serve(federation, protocol.start(parts.worker), parts.sampler, rounds=1))
    return round.state.shared, [client for client, _ in round.failures]


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_client_whose_last_tensor_is_bad_leaves_no_trace_in_the_sum(streaming, tiny_backbone_folder):
    def spoil(client, worker):
        if client.endswith("1"):  # the second of four
            name = list(worker.params)[-1]
            worker.params[name].data[-1] = float("nan")

    found, failed = one_round(tiny_backbone_folder, spoil)
    clients = sorted(assemble(tiny_job(tiny_backbone_folder), given=tiny_rows()).clients)
    assert failed == [clients[1]]
    wanted, lost = one_round(tiny_backbone_folder, asked=[client for client in clients if client != clients[1]])
    assert lost == [clients[1]]
    assert all(bool(value.isfinite().all()) for value in found.values())
    assert same(found, wanted)


def test_a_rule_that_holds_all_updates_gets_what_each_client_sent(streaming, tiny_backbone_folder):
    plain, _ = one_round(tiny_backbone_folder)
    held, _ = one_round(tiny_backbone_folder, aggregation=HoldsAll())
    assert same(plain, held)


def test_a_mean_makes_one_lazy_tensor_at_a_time():
    from fedtailor.records import Update

    def once(tensor):
        alive.append(tensor)
        return tensor + 0

    alive: list = []
    sets = [{name: torch.full((2,), float(value)) for name in "abc"} for value in (1, 4)]
    updates = (Update(client=str(i), version=0, delta=Lazy(once, each), weight=1.0 + i) for i, each in enumerate(sets))
    mean = mean_delta(updates)  # (1 * 1 + 2 * 4) / 3
    assert {name: value.tolist() for name, value in mean.items()} == {name: [3.0, 3.0] for name in "abc"}
    assert len(alive) == 6
