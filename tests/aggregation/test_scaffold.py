"""SCAFFOLD at the server."""

import pytest
import torch
from updates import update

from fedtailor.aggregation import Scaffold
from fedtailor.errors import ShapeMismatch


def test_deltas_are_averaged_and_changes_of_controls_added():
    # weights: 10 + (1 * 0.5 + 3 * 2.5) / 4 = 12. Controls: 1 + 0.25 - 0.75 = 0.5, whatever the weights: clients divided by N already
    rule, params = Scaffold(), {"w": torch.tensor([10.0])}
    updates = [
        update({"w": [0.5]}, weight=1, extra={"w": torch.tensor([0.25])}),
        update({"w": [2.5]}, weight=3, extra={"w": torch.tensor([-0.75])}),
    ]
    state = {"w": torch.tensor([1.0])}
    outcome = rule.combine(iter(updates), params, state)
    assert outcome.shared["w"].item() == 12.0
    assert outcome.state["w"].item() == 0.5
    assert state["w"].item() == 1.0
    assert rule.init(params)["w"].item() == 0.0


def test_a_client_that_sends_no_control_is_refused():
    with pytest.raises(ShapeMismatch):
        Scaffold().combine([update({"w": [0.5]})], {"w": torch.zeros(1)}, {"w": torch.zeros(1)})
