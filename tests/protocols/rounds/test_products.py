"""Cosine and drift where the shared factors are written as others each round, worked out by hand."""

import math

import pytest
import torch

from fedtailor.aggregation import FlexLora, Flora
from fedtailor.protocols.rounds.drift import watched
from fedtailor.protocols.rounds.products import ProductDrift
from fedtailor.records import Outcome, Update

A, B = "m.lora_A.weight", "m.lora_B.weight"


def update(client, b, a, **more):
    delta = {B: torch.tensor(b), A: torch.tensor(a)}
    return Update(client=client, version=0, delta=delta | more, weight=1.0, scale={"m": 2.0})


def found(rule, updates, shared):
    watch = ProductDrift().begin(shared, [name for name in shared if "carried" not in name])
    outcome = rule.combine(watched(updates, [watch]), shared, rule.init(shared))
    step = {name: outcome.shared[name] - shared[name] for name in shared}
    return watch.end(outcome, step).clients


def test_a_step_in_other_factors_is_the_same_step():
    # the product of all stays diag(2, 1) but for what clients change: the step writes it as other factors, times 5 and over 5
    shared = {B: torch.eye(2), A: torch.tensor([[2.0, 0.0], [0.0, 1.0]])}
    watch = ProductDrift().begin(shared, [A, B])
    list(watched([update("a", [[0.0, 0.0], [0.0, 0.0]], [[3.0, 0.0], [0.0, 0.0]])], [watch]))  # its product grows by 3 at (0, 0)
    after = {B: 5 * torch.eye(2), A: torch.tensor([[5.0, 0.0], [0.0, 1.0]]) / 5}
    step = {name: after[name] - shared[name] for name in shared}
    assert watch.end(Outcome(shared=after), step).clients["a"] == pytest.approx(
        {"update_norm": 3.0, "cosine": 1.0, "drift": 0.0}, abs=1e-6
    )


def test_products_of_clients_of_two_ranks_are_compared_with_their_mean():
    # B = (1, 1 on the diagonal), A = 0: products are B A. "a" ends with (4, 0 | 0, 2), "b", of rank 1, with (2, 0 | 0, 0)
    # mean (3, 0 | 0, 1): a is (1, 0 | 0, 1) off, cosine (12 + 2) / sqrt(20 * 10); b is (-1, 0 | 0, -1) off, cosine 6 / (2 sqrt(10))
    shared = {B: torch.eye(2), A: torch.zeros(2, 2)}
    updates = [update("a", [[0.0, 0], [0, 0]], [[4.0, 0], [0, 2]]), update("b", [[0.0], [0]], [[2.0, 0.0]])]
    rows = found(FlexLora(), updates, shared)
    off = math.sqrt(2 / 10)
    assert rows["a"] == pytest.approx({"update_norm": math.sqrt(20), "cosine": 14 / math.sqrt(200), "drift": off})
    assert rows["b"] == pytest.approx({"update_norm": 2.0, "cosine": 3 / math.sqrt(10), "drift": off})


def test_what_is_carried_is_part_of_the_step():
    # FLoRA: the trained factors start fresh, B = 0; the mean product of both, 2 (s) * 3 at (0, 0), is carried
    shared = {B: torch.zeros(2, 1), A: torch.tensor([[1.0, 0.0]])}
    shared |= {"m.carried_B.weight": torch.zeros(2, 2), "m.carried_A.weight": torch.zeros(2, 2)}
    updates = [update(client, [[size], [0.0]], [[0.0, 0.0]]) for client, size in (("a", 2.0), ("b", 4.0))]
    rows = found(Flora(carry=2), updates, shared)
    assert rows["a"] == pytest.approx({"update_norm": 2.0, "cosine": 1.0, "drift": 1 / 3})
    assert rows["b"] == pytest.approx({"update_norm": 4.0, "cosine": 1.0, "drift": 1 / 3})


def test_a_head_beside_the_factors_counts_as_it_is():
    # product: a 3, b 1 at (0, 0), mean 2, times s = 2; head: a (0, 4), b (0, 0), mean (0, 2)
    shared = {B: torch.zeros(2, 1), A: torch.tensor([[1.0, 0.0]]), "head": torch.zeros(2)}
    updates = [
        update("a", [[3.0], [0.0]], [[0.0, 0.0]], head=torch.tensor([0.0, 4.0])),
        update("b", [[1.0], [0.0]], [[0.0, 0.0]], head=torch.zeros(2)),
    ]
    rows = found(FlexLora(), updates, shared)
    # a (6 | 4) and the mean (4 | 2): 32 / sqrt(52 * 20); off by (2 | 2), whose square is 8
    assert rows["a"] == pytest.approx({"update_norm": 5.0, "cosine": 32 / math.sqrt(1040), "drift": math.sqrt(8 / 20)}, rel=1e-6)
    assert rows["b"]["drift"] == pytest.approx(math.sqrt(8 / 20))
