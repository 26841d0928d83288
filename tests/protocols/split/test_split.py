"""Split learning as a whole: what is sent, what it costs, what happens when something goes wrong."""

import json

import pandas as pd
import pytest
import torch
from jobs import tiny_rows
from safetensors.torch import load_file
from split_shapes import FAMILIES, class_rows, federation_of, random_shared, save_family, split_job, split_parts

from fedtailor.assembly import assemble, estimate
from fedtailor.learning.training import one_by_one
from fedtailor.messages import decode
from fedtailor.protection import Gate, gate
from fedtailor.protocols.evaluation import evaluation_request
from fedtailor.protocols.rounds.sampling import Sampler
from fedtailor.records import ClientInfo
from fedtailor.running import run

ADAM = {"optimizer": "adamw", "learning_rate": 0.02, "clip_norm": 1.0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("families")
    return {family: save_family(family, home) for family in FAMILIES}


def rows_of(family):
    return class_rows() if family == "bert" else tiny_rows()


def messages_of_a_run(monkeypatch, job, rows, out):
    """Return every message that left a client, read from its bytes."""
    sent = []

    class Reading(Gate):
        def leave_client(self, message, asked=None):
            data = super().leave_client(message)
            sent.append(decode(data))
            return data

    monkeypatch.setattr(gate, "Gate", Reading)
    return sent, run(job, data=rows, out=out)


def tells_labels(messages):
    """Return whether any message holds anything but real numbers of the hidden width, of weights, or counts that are told anyway."""
    counts = {"step", "steps", "version", "examples", "tokens", "targets", "lengths"}
    for message in messages:
        if any(not tensor.is_floating_point() for tensor in message.tensors.values()):
            return True
        whole = {name for name, fact in message.facts.items() if not isinstance(fact, float)}
        if message.kind.startswith("split-") and whole - counts:
            return True
    return False


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_u_shaped_no_label_and_no_token_id_ever_leaves(folders, family, tmp_path, monkeypatch):
    job = split_job(folders[family], family, local=ADAM, changes={"stop__rounds": 2})
    sent, result = messages_of_a_run(monkeypatch, job, rows_of(family), tmp_path / "u")
    assert {m.kind for m in sent} == {"split-activations", "split-loss-gradient", "split-end", "evaluate"}
    assert len([m for m in sent if m.kind == "split-activations"]) == 2 * 3 * 2  # rounds, clients, steps
    assert not tells_labels(sent)
    manifest = json.loads((result.folder / "manifest.json").read_text())["up"]
    assert all(
        set(m.tensors) <= set(manifest[m.kind]["tensors"]) and set(m.facts) <= set(manifest[m.kind]["facts"]) for m in sent
    )
    open_job = job.replace("protocol.labels", "with-server")
    sent, _ = messages_of_a_run(monkeypatch, open_job, rows_of(family), tmp_path / "w")
    assert tells_labels(sent)  # the reader does see them where they are


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("family", "protocol"),
    [
        ("bert", {}),
        ("llama", {"labels": "with-server", "wire": {"kind": "int4"}}),
        ("gpt2", {"wire": {"kind": "int8"}, "gradients": {"kind": "bfloat16"}, "server": "sequential"}),
        ("bert", {"wire": {"kind": "top-channels", "share": 0.5}, "labels": "with-server"}),
        ("gpt2", {"local": {"batch_size": 1}}),
    ],
)
def test_bytes_and_operations_are_estimated(folders, family, protocol, tmp_path):
    protocol = {**protocol, "local": {**ADAM, "steps": None, **protocol.get("local", {})}}
    job = split_job(folders[family], family, **protocol, changes={"stop__rounds": 1})
    costs = estimate(assemble(job, given=rows_of(family)))
    result = run(job, data=rows_of(family), out=tmp_path / "r")
    found = pd.read_parquet(result.folder / "clients.parquet").set_index("client")
    for client, cost in costs.items():
        assert cost.up_bytes == pytest.approx(found.loc[client, "up_bytes"], rel=0.02)
        assert cost.down_bytes == pytest.approx(found.loc[client, "down_bytes"], rel=0.02)
        assert cost.train_flops == pytest.approx(found.loc[client, "train_flops"], rel=1e-6)


def test_a_clients_operations_and_memory_grow_with_the_cut(folders):
    parts = {cut: split_parts(folders["llama"], "llama", cut=cut, labels="with-server") for cut in (1, 2, 4)}
    cost = {cut: next(iter(estimate(p).values())) for cut, p in parts.items()}
    block = sum(p.numel() for p in parts[1].protocol.terms.layout.cut_model.blocks[0].parameters() if not p.requires_grad)
    trained = sum(p.numel() for p in parts[1].protocol.terms.layout.cut_model.blocks[0].parameters() if p.requires_grad)
    tokens = cost[1].train_flops / (4 * block + 6 * trained)
    assert cost[2].train_flops == pytest.approx(2 * cost[1].train_flops)
    assert cost[4].train_flops == pytest.approx(4 * cost[1].train_flops)
    assert tokens == pytest.approx(round(tokens))
    assert cost[1].memory_bytes < cost[2].memory_bytes < cost[4].memory_bytes


@pytest.mark.few(1)
@pytest.mark.parametrize("protocol", [{"wire": {"kind": "int4"}}, {"wire": {"kind": "top-channels"}, "server": "sequential"}])
def test_a_resumed_run_gives_the_same_bits(folders, protocol, tmp_path):
    home = {"personalization": {"kind": "fedper", "home": ["*.layer.0.*"]}}
    job = split_job(folders["bert"], "bert", local=ADAM, changes=home, **protocol)
    whole = run(job, data=class_rows(), out=tmp_path / "whole")
    run(job.replace("stop.rounds", 1), data=class_rows(), out=tmp_path / "parts")
    run(job, data=class_rows(), resume=tmp_path / "parts")
    names = ["adapter/adapter_model.safetensors", "checkpoint/000003/method.safetensors"]
    names += [f"clients/client-0{i}/state-000003.safetensors" for i in range(3)]
    for name in names:
        left, right = load_file(whole.folder / name), load_file(tmp_path / "parts" / name)
        assert left.keys() == right.keys()
        assert left or "adapter" not in name
        assert all(torch.equal(left[key], right[key]) for key in left)
    assert any(key.startswith("lost/client-") for key in load_file(whole.folder / names[1]))
    own = load_file(whole.folder / names[2])
    assert any(key.startswith("own/") and ".layer.0." in key for key in own)
    assert any(key.startswith("lost/") for key in own)


def test_client_halves_that_stay_home_are_never_sent(folders, tmp_path, monkeypatch):
    home = {"personalization": {"kind": "fedper", "home": ["*.layer.[01].*", "*classifier*"]}, "stop__rounds": 1}
    job = split_job(folders["bert"], "bert", local=ADAM, changes=home)
    sent, result = messages_of_a_run(monkeypatch, job, class_rows(), tmp_path / "r")
    ends = [m for m in sent if m.kind == "split-end"]
    assert len(ends) == 3
    assert all(not m.tensors for m in ends)  # SplitFed V3: the client's part is all its own
    own = [load_file(result.folder / "clients" / f"client-0{i}" / "state-000001.safetensors") for i in range(3)]
    name = next(key for key in own[0] if "classifier" in key and key.endswith("weight"))
    assert not torch.equal(own[0][name], own[1][name])
    assert set(result.summary["personal"]["clients"]) == {"client-00", "client-01", "client-02"}


def test_a_message_holds_at_most_a_batch(folders):
    parts = split_parts(folders["bert"], "bert")
    assert parts.manifest.sizes == {"tokens": 4 * 48, "examples": 4}
    specs = {**parts.manifest.up, **parts.manifest.down}
    assert specs["split-activations"].tensors["values"].shape == ("tokens", 16)
    client_side = {
        name
        for name in parts.worker.params
        if parts.protocol.terms.layout.owner(parts.protocol.terms.layout.inner[name]) == "client"
    }
    assert set(specs["split-begin"].tensors) == set(specs["split-end"].tensors) == client_side
    assert any("layer.1." in name for name in client_side)
    assert not any("layer.2." in name for name in client_side)
    assert any("classifier" in name for name in client_side)


def test_error_feedback_loses_nothing_over_steps():
    from fedtailor.messages.wires.table import TopChannelsWire
    from fedtailor.protocols.split.side import Line

    line = Line(TopChannelsWire(share=0.5), lambda step: step, feedback=True)
    table = torch.tensor([[4.0, 1.25], [4.0, 1.25]])
    # step 1 sends channel 0 (8 over both tokens) and loses 2.5 in channel 1, which are spread over the next tokens: 1.25 + 2.5 / 2
    # = 2.5 each, 5 lost; then 3.75 each, 7.5 lost; then 5 each: channel 1 is sent, and 8 of channel 0 are lost
    sums = [line._wire.unpack(line.write(table, step, "x"), 2).sum(0).tolist() for step in range(4)]
    assert sums == [[8, 0], [8, 0], [8, 0], [0, 10]]
    assert line.lost_H.tolist() == [8.0, 0.0]


def test_one_client_alone_and_few_examples(folders):
    parts = split_parts(folders["bert"], "bert", local={"steps": None, "batch_size": 64})  # more than anybody has: one step
    alone = ClientInfo(id="client-00", examples=len(parts.clients["client-00"].train))
    sampler = Sampler(clients=[alone], per_round=1)
    rounds = parts.protocol.serve(federation_of(parts), parts.protocol.start(parts.worker), sampler, rounds=1)
    assert next(rounds).clients[0]["steps"] == 1


def test_an_evaluation_is_of_the_weights_that_come_with_it(folders):
    parts = split_parts(folders["gpt2"], "gpt2")
    client, own = next(iter(parts.clients.items()))
    half, shared = parts.protocol.client(own), random_shared(parts)
    start = dict(parts.worker.tensors())

    def loss_of(weights):
        request = evaluation_request(weights, name="after", generate=False)
        return one_by_one(half.answer(request)).facts["test.loss"]

    at_start = loss_of(start)
    found = loss_of(shared)
    assert found == parts.worker.evaluate(own.test, generate=False).figures["loss"]
    assert abs(found - at_start) > 1e-4
    assert loss_of(start) == at_start, client
