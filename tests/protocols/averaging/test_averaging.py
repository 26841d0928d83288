"""Averaging with rules that train in turn, and with corrections: whole tiny runs."""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fedtailor.errors import SettingError
from fedtailor.protocols import Averaging
from fedtailor.running import run

SGD = {"optimizer": "sgd", "learning_rate": 0.5, "batch_size": 4}


def shared_of(folder, round):
    return load_file(folder / "checkpoint" / f"{round:06d}" / "shared.safetensors")


def changed(folder, one, other):
    """Return the sides of LoRA factors that differ between two checkpoints."""
    left, right = shared_of(folder, one), shared_of(folder, other)
    return {name.split(".")[-2] for name in left if not torch.equal(left[name], right[name])}


def assert_same_result(one, other):
    left, right = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (one, other))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def train_bytes(summary):
    return summary["traffic"]["by_kind"]["train"]["up_bytes"]


@pytest.fixture(scope="module")
def plain(tiny_backbone_folder, tmp_path_factory):
    from jobs import tiny_job, tiny_rows

    job = tiny_job(tiny_backbone_folder, tuning__rank=8, stop__rounds=2)
    return run(job, data=tiny_rows(), out=tmp_path_factory.mktemp("plain") / "r")


def test_ffa_lora_trains_and_sends_b_alone(make_job, rows, plain, tmp_path):
    job = make_job(tuning__rank=8, stop__rounds=2, protocol__aggregation={"kind": "ffa-lora"})
    summary = run(job, data=rows, out=tmp_path / "r").summary
    assert changed(tmp_path / "r", 1, 2) == {"lora_B"}
    first = load_file(tmp_path / "r" / "checkpoint" / "000002" / "shared.safetensors")
    same = load_file(plain.folder / "checkpoint" / "000001" / "shared.safetensors")
    assert first.keys() == same.keys()
    up = json.loads((tmp_path / "r" / "manifest.json").read_text())["up"]["train"]["tensors"]
    assert up
    assert all("lora_B" in name and not spec["optional"] for name, spec in up.items())
    values = sum(t.numel() for name, t in first.items() if "lora_B" in name)
    saved = (train_bytes(plain.summary) - train_bytes(summary)) / (4 * 2)  # 4 clients, 2 rounds
    assert saved > 4 * (sum(t.numel() for t in first.values()) - values)  # the values of A, and their names


def test_rolora_trains_and_sends_factors_in_turn(make_job, rows, tmp_path):
    job = make_job(stop__rounds=3, protocol__aggregation={"kind": "rolora"}, protocol__local__keep_optimizer=True)
    summary = run(job, data=rows, out=tmp_path / "r").summary
    assert changed(tmp_path / "r", 2, 3) == {"lora_B"}
    up = json.loads((tmp_path / "r" / "manifest.json").read_text())["up"]["train"]["tensors"]
    assert all(spec["optional"] for spec in up.values())
    moments = load_file(max((tmp_path / "r" / "clients" / "client-00").glob("state-*.safetensors")))
    assert all("lora_B" in name for name in moments)  # those of A were let go when A rested
    clients = pd.read_parquet(tmp_path / "r" / "clients.parquet")
    assert clients["cosine"].between(-1, 1).all()
    assert summary["metrics"]["after"]["loss"] < summary["metrics"]["before"]["loss"]
    job = make_job(stop__rounds=2, protocol__aggregation={"kind": "rolora"}, protocol__local__keep_optimizer=True)
    run(job, data=rows, out=tmp_path / "two")
    assert changed(tmp_path / "two", 1, 2) == {"lora_A"}


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("aggregation", "local"),
    [
        ("rolora", {"keep_optimizer": True, "learning_rate": 0.02}),
        ("ffa-lora", {"learning_rate": 0.02}),
        ("fedadam", {"learning_rate": 0.02}),
        ("fedsvd", {"learning_rate": 0.02, "proximal": 0.1}),
        ("scaffold", SGD),
    ],
)
def test_a_run_continues_as_if_never_stopped(make_job, rows, tmp_path, aggregation, local):
    def job(rounds):
        changes = {"protocol__local": local, "protocol__aggregation": {"kind": aggregation}, "clients__fraction": 0.5}
        return make_job(stop__rounds=rounds, **changes)

    run(job(4), data=rows, out=tmp_path / "whole")
    run(job(1), data=rows, out=tmp_path / "parts")
    run(job(2), data=rows, resume=tmp_path / "parts")
    run(job(4), data=rows, resume=tmp_path / "parts")
    assert_same_result(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("kind", ["fedavgm", "fedyogi", "fedadagrad", "lora-fair", "fedrot-lora", "flexlora"])
def test_every_other_rule_runs(make_job, rows, tmp_path, kind):
    result = run(make_job(stop__rounds=2, protocol__aggregation={"kind": kind}), data=rows, out=tmp_path / "r")
    assert result.summary["metrics"]["after"]["loss"] < result.summary["metrics"]["before"]["loss"] + 0.01
    assert result.history["bias"].between(0, 1).all()


def test_plain_averaging_reports_its_bias(plain):
    assert (plain.history["bias"] > 0).all()


def test_proximal_training_stays_closer(make_job, rows, tmp_path):
    norms = []
    for mu in (0.0, 1.0, 30.0):
        job = make_job(
            stop__rounds=1, protocol__local={**SGD, "learning_rate": 0.02, "proximal": mu, "clip_norm": None, "epochs": 4}
        )
        norms.append(run(job, data=rows, out=tmp_path / str(mu)).history["update_norm"].iloc[-1])
    assert norms[0] > norms[1] > 1.2 * norms[2]


def test_the_servers_control_is_the_mean_of_the_clients(make_job, rows, tmp_path):
    # c starts as the mean of the c_k, all zero; each round adds the changes of those asked, one part in N: so it stays the mean
    job = make_job(protocol__local=SGD, protocol__aggregation={"kind": "scaffold"}, clients__fraction=0.5, stop__rounds=3)
    run(job, data=rows, out=tmp_path / "r")
    server = load_file(tmp_path / "r" / "checkpoint" / "000003" / "method.safetensors")
    own = [
        load_file(max(folder.glob("state-*"))) for folder in (tmp_path / "r" / "clients").iterdir() if any(folder.glob("state-*"))
    ]
    assert len(own) >= 2
    for name, value in server.items():
        mean = sum(kept[f"control/{name}"] for kept in own) / 4
        torch.testing.assert_close(value, mean, rtol=1e-4, atol=1e-6)
    assert any(value.abs().max() > 1e-3 for value in server.values())
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    plain = run(job.replace("protocol.aggregation", {"kind": "fedavg"}), data=rows, out=tmp_path / "p").summary
    assert train_bytes(summary) > 1.8 * train_bytes(plain)


@pytest.mark.parametrize("local", [{"optimizer": "adamw"}, {**SGD, "momentum": 0.9}, {**SGD, "weight_decay": 0.1}])
def test_scaffold_needs_plain_sgd(make_job, local):
    name = next(name for name in ("momentum", "weight_decay", "optimizer") if name in local and local[name] != "sgd")
    with pytest.raises(SettingError, match=rf"scaffold does not go with local\.{name}.*fedavg"):
        make_job(protocol__local=local).replace("protocol.aggregation", {"kind": "scaffold"})


@pytest.mark.parametrize("kind", ["ffa-lora", "rolora", "lora-fair", "fedrot-lora", "fedsvd", "flexlora"])
def test_rules_for_lora_refuse_other_tunings_before_any_work(make_job, rows, tmp_path, kind):
    job = make_job(protocol__aggregation={"kind": kind}, tuning={"kind": "prompt", "length": 2})
    with pytest.raises(SettingError, match=rf"aggregation: {kind} does not go with tuning: prompt.*lora"):
        run(job, data=rows, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_what_is_estimated_halves_too(make_job, rows):
    from fedtailor.assembly import assemble, estimate

    costs = {}
    for kind in ("fedavg", "ffa-lora", "rolora", "scaffold", "flora", "fedex-lora"):
        job = make_job(protocol__local=SGD, tuning__rank=64, tuning__targets=["o_proj"])
        parts = assemble(job.replace("protocol.aggregation", {"kind": kind}), given=rows)
        costs[kind] = next(iter(estimate(parts).values()))
    values = 4 * 4 * 64 * 16  # A and B of two modules that are 16 x 16, rank 64, float32
    half = costs["fedavg"].up_bytes - values / 2
    assert half - 2 * 150 < costs["ffa-lora"].up_bytes < half - 2 * 100  # nor are the names and forms of two tensors sent
    assert costs["rolora"].up_bytes == pytest.approx(costs["ffa-lora"].up_bytes, abs=16)
    assert costs["ffa-lora"].down_bytes == costs["fedavg"].down_bytes
    for way in ("up_bytes", "down_bytes"):  # with control variates
        assert values + 4 * 100 < getattr(costs["scaffold"], way) - getattr(costs["fedavg"], way) < values + 4 * 150
    for kind in ("flora", "fedex-lora"):  # what is carried goes down only: four more tensors
        assert costs[kind].up_bytes == costs["fedavg"].up_bytes
        assert costs[kind].down_bytes > costs["fedavg"].down_bytes + 4 * 100


@pytest.mark.parametrize(
    "changes",
    [
        {"tuning": {"kind": "fed-sb", "rank": 2, "alpha": 2}},  # four values a tensor: headers are most of a message
        {"protocol__wire": "bfloat16", "clients__validation_share": 0.0, "stop__rounds": 2},
        {"protocol__local": SGD, "protocol__aggregation": "scaffold"},
        {"protocol__aggregation": "rolora"},  # A and B in turn: three rounds send A once or twice
    ],
    ids=["fed-sb", "bfloat16", "scaffold", "rolora"],
)
def test_what_is_estimated_is_what_was_sent(make_job, rows, tmp_path, changes):
    from fedtailor.assembly import assemble, estimate

    job = make_job(**changes)
    costs = estimate(assemble(job, given=rows))
    made = pd.read_parquet(run(job, data=rows, out=tmp_path / "r").folder / "clients.parquet")
    found = made.groupby("client")[["up_bytes", "down_bytes"]].mean()
    for client, cost in costs.items():
        assert cost.up_bytes == pytest.approx(found.loc[client, "up_bytes"], abs=24)  # digits of numbers
        assert cost.down_bytes == pytest.approx(found.loc[client, "down_bytes"], abs=24)


def test_a_client_that_sends_other_factors_is_dropped():
    from fedtailor.protocols.averaging.collect import Collector
    from fedtailor.protocols.averaging.messages import scale_reader
    from fedtailor.records import Message, Reply

    names = {"m.lora_A.weight": torch.ones(1, 2), "m.lora_B.weight": torch.ones(2, 1)}
    facts = {"version": 0, "examples": 1, "targets": 1, "tokens": 1, "steps": 1, "seconds": 1.0}

    def reply(client, keep, **more):
        tensors = {name: value for name, value in names.items() if keep in name}
        return Reply(client=client, message=Message(kind="train", tensors=tensors, facts=facts | more))

    collector = Collector(0, ["a", "b", "c"], lambda facts: 1.0, trained=["m.lora_B.weight"], scale=scale_reader(names))
    replies = [reply("a", "lora_B", scale=[2.0]), reply("b", "lora_A"), reply("c", "lora_B", scale=[2.0, 2.0])]
    assert [(u.client, u.scale) for u in collector.updates(replies)] == [("a", {"m": 2.0})]
    assert {client: failure.mark for client, failure in collector.failures.items()} == {"b": "OtherTensors", "c": "OtherScale"}


def test_the_manifest_of_a_run_follows_its_rounds():
    shared = {"m.lora_A.weight": torch.ones(1, 2), "m.lora_B.weight": torch.ones(2, 1), "head": torch.ones(1)}
    from fedtailor.aggregation import RoLora
    from fedtailor.messages import manifest_of
    from fedtailor.protocols import AveragingRun

    protocol = AveragingRun(settings=Averaging(aggregation=RoLora()))
    one = manifest_of(protocol.calls(shared)).up["train"].tensors
    assert {name: spec.optional for name, spec in one.items()} == {"m.lora_B.weight": False, "head": False}
    two = manifest_of(protocol.calls(shared, rounds=2)).up["train"].tensors
    assert {name: spec.optional for name, spec in two.items()} == dict.fromkeys(shared, True) | {"head": False}
