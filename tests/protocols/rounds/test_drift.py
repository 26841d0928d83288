"""Cosines of the clients' prefixes with that of all, worked out by hand."""

import math

import pytest
import torch
from tuning_shapes import load

from fedtailor.protocols.rounds import aside
from fedtailor.protocols.rounds.aside import Aside
from fedtailor.protocols.rounds.drift import Drift, watched
from fedtailor.protocols.rounds.observers import observers_of
from fedtailor.records import Outcome, Update
from fedtailor.tensors import add, map_tensors
from fedtailor.tuning import Lora, Prefix

VECTORS = "prompt_embeddings"
FOLDERS = {"tiny_gpt2_folder": 64, "tiny_backbone_folder": 32}  # values of a place: 2 layers * 2 * 16, or * one KV head of 8


class Server:
    """As much of a worker as the meter looks at."""

    def __init__(self, tuning, folder):
        self.tuning, self.model = tuning, tuning.attach(load(folder), 0)


def update(client, delta):
    return Update(client=client, version=0, delta=delta, weight=1.0)


def figures_of(server, received, deltas):
    """Return what the meter finds if the step of all is the mean of the deltas."""
    watches = [observer.begin(received, list(received)) for observer in observers_of(server)]
    passed = list(watched((update(client, delta) for client, delta in deltas.items()), watches))
    assert [each.client for each in passed] == list(deltas)
    mean = map_tensors(lambda *each: sum(each) / len(each), *deltas.values())
    drift, *likeness = [watch.end(Outcome(shared=add(received, mean)), mean) for watch in watches]
    assert drift.clients.keys() == deltas.keys()
    return (likeness[0].clients, likeness[0].figures) if likeness else ({}, {})


@pytest.mark.parametrize(("folder", "values"), FOLDERS.items())
def test_raw_vectors(folder, values, request):
    # layer 0: a (3, 4), b (4, 3), mean (3.5, 3.5); layer 1: a (1, 0), b (0, 1), mean (0.5, 0.5); they are received minus what they end as
    server = Server(Prefix(length=1, exchange="prefix"), request.getfixturevalue(folder))
    received = {VECTORS: torch.full((1, values), 2.0)}
    deltas = {}
    for client, (first, second) in {"a": ([3, 4], [1, 0]), "b": ([4, 3], [0, 1])}.items():
        ends = torch.zeros(1, values)
        ends[0, values // 2 - 2 : values // 2] = torch.tensor(first).float()  # the last two values of layer 0
        ends[0, values // 2 : values // 2 + 2] = torch.tensor(second).float()  # the first two of layer 1
        deltas[client] = {VECTORS: ends - received[VECTORS]}
    rows, means = figures_of(server, received, deltas)
    wanted = {"prefix_cosine": 25 / (math.sqrt(26) * 5), "prefix_cosine_layer_00": 24.5 / (5 * math.sqrt(24.5))}
    wanted["prefix_cosine_layer_01"] = math.sqrt(0.5)
    assert means.pop("prefix_gap") == pytest.approx(0.0, abs=1e-6)  # bare vectors: what is averaged is what is compared
    for found in (rows["a"], rows["b"], means):
        assert found == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_network_is_run_and_its_prefix_compared(folder, request):
    # one place, one hidden value h, prefix = h * w: a has h 2 and w (1, 0 | 1), b has h 4 and w (0, 1 | 1), the mean h 3 and w (.5, .5 | 1)
    # so a (2, 0 | 2), b (0, 4 | 4), of all (1.5, 1.5 | 3); the mean of the prefixes would be (1, 2 | 3)
    server = Server(Prefix(length=1, hidden=1, activation="relu"), request.getfixturevalue(folder))
    before = {name: value.clone() for name, value in server.tuning.parameters(server.model).items()}
    received = {name: torch.full_like(value, 0.5) for name, value in before.items()}
    half = FOLDERS[folder] // 2
    deltas = {}
    for client, (h, one) in {"a": (2.0, 0), "b": (4.0, 1)}.items():
        ends = {name: torch.zeros_like(value) for name, value in before.items()}
        ends["prompt_encoder.embedding.weight"][0, 0] = 1.0
        ends["prompt_encoder.transform.0.weight"][0, 0] = h
        ends["prompt_encoder.transform.2.weight"][one, 0] = 1.0
        ends["prompt_encoder.transform.2.weight"][half, 0] = 1.0
        deltas[client] = {name: ends[name] - received[name] for name in ends}
    rows, means = figures_of(server, received, deltas)
    wanted = {"prefix_cosine": 9 / math.sqrt(8 * 13.5), "prefix_cosine_layer_00": math.sqrt(0.5), "prefix_cosine_layer_01": 1.0}
    # (1.5, 1.5 | 3) against (1, 2 | 3): half a unit twice, over a length of sqrt(14)
    assert means.pop("prefix_gap") == pytest.approx(math.sqrt(0.5 / 14), rel=1e-6)
    for found in (rows["a"], rows["b"], means):
        assert found == pytest.approx(wanted, rel=1e-6)
    after = server.tuning.parameters(server.model)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("exchange", ["network", "prefix", "refit"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_layers_are_those_that_peft_gives_the_model(folder, exchange, request):
    server = Server(Prefix(length=3, hidden=4, exchange=exchange), request.getfixturevalue(folder))
    tuning, model = server.tuning, server.model
    tensors = tuning.exchanged(model)  # what is in place
    found = tuning.compared(model, {name: value.detach() for name, value in tensors.items()})
    seen = model.get_prompt(1).layers  # the second witness: keys and values [1, heads, places, width]
    assert list(found) == ["layer_00", "layer_01"]
    for part, layer in zip(found.values(), seen, strict=True):
        rows = [each[0].transpose(0, 1).flatten(1) for each in (layer.keys, layer.values)]
        assert torch.equal(part, torch.cat(rows, dim=1))


def test_part_of_a_network_reports_nothing_and_other_tunings_neither(tiny_gpt2_folder):
    server = Server(Prefix(length=1, hidden=2), tiny_gpt2_folder)
    shared = {name: value.detach() for name, value in server.tuning.parameters(server.model).items() if "embedding" not in name}
    assert figures_of(server, shared, {"a": {name: torch.ones_like(value) for name, value in shared.items()}}) == ({}, {})
    assert figures_of(Server(Lora(rank=1), tiny_gpt2_folder), {"w": torch.zeros(1)}, {"a": {"w": torch.ones(1)}}) == ({}, {})


def test_large_updates_are_compared_in_chunks_and_wait_on_disk(monkeypatch):
    monkeypatch.setattr(aside, "CHUNK", 2)
    monkeypatch.setattr(aside, "IN_MEMORY_BYTES", 4)
    shared = {"w": torch.zeros(3), "v": torch.zeros(1), "rests": torch.zeros(2)}
    meter = Drift().begin(shared, ["w", "v"])
    meter.see(update("a", {"w": torch.tensor([3.0, 0.0, 4.0]), "v": torch.zeros(1)}))
    meter.see(update("b", {"v": torch.tensor([2.0]), "w": torch.zeros(3)}))
    # mean (1.5, 0, 2 | 1): a's product 4.5 + 8 = 12.5, lengths 5 and sqrt(7.25); a - mean = (1.5, 0, 2 | -1), whose length is that too
    step = {"w": torch.tensor([1.5, 0.0, 2.0]), "v": torch.tensor([1.0]), "rests": torch.ones(2)}
    found = meter.end(Outcome(shared=step), step).clients
    assert found["a"] == pytest.approx({"update_norm": 5.0, "cosine": 12.5 / 5 / math.sqrt(7.25), "drift": 1.0})
    assert found["b"] == pytest.approx({"update_norm": 2.0, "cosine": 2 / 2 / math.sqrt(7.25), "drift": 1.0})


def test_norm_cosine_and_drift_against_the_mean():
    # updates (3, 4) and (3, -4), mean (3, 0): norm 5, cosine 3 / 5, drift 4 / 3; the second is of a lower rank, and filled up with zeros
    meter = Drift().begin({"w": torch.zeros(2, 1)}, ["w"])
    meter.see(update("a", {"w": torch.tensor([[3.0], [4.0]])}))
    meter.see(update("b", {"w": torch.tensor([[3.0]])}))
    step = {"w": torch.tensor([[3.0], [0.0]])}
    found = meter.end(Outcome(shared=step), step).clients
    assert found["a"] == pytest.approx({"update_norm": 5.0, "cosine": 0.6, "drift": 4 / 3})
    assert found["b"] == pytest.approx({"update_norm": 3.0, "cosine": 1.0, "drift": 0.0})


def test_zero_has_no_direction():
    one = Aside()
    one.put("a", {"w": torch.zeros(2)})
    ((_, parts),) = one.compare({"w": torch.ones(2)})
    assert math.isnan(parts["w"].cosine)
