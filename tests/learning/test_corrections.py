"""Corrections of gradients, by hand."""

import pytest
import torch
from torch import nn

from fedtailor.errors import SettingError
from fedtailor.learning.corrections import controlled, next_control, proximal
from fedtailor.learning.local import LocalTraining


def weight(value, grad):
    param = nn.Parameter(torch.tensor([value]))
    param.grad = None if grad is None else torch.tensor([grad])
    return param


def test_the_pull_back_grows_with_the_distance():
    # gradient 1, and 0.5 * (5 - 2) = 1.5 on top; a weight that rests has no gradient and gets none
    params = {"w": weight(2.0, 1.0), "rests": weight(7.0, None)}
    correct = proximal(params, 0.5)
    params["w"].data.fill_(5.0)  # what training starts from was copied
    correct(params)
    assert params["w"].grad.item() == 2.5
    assert params["rests"].grad is None


def test_the_clients_own_drift_is_taken_out():
    # gradient 1, less the client's 0.25, plus the server's 3
    params = {"w": weight(2.0, 1.0), "rests": weight(7.0, None)}
    controlled({"w": torch.tensor([3.0]), "rests": torch.zeros(1)}, {"w": torch.tensor([0.25]), "rests": torch.zeros(1)})(params)
    assert params["w"].grad.item() == 3.75
    assert params["rests"].grad is None


def test_the_next_control_is_the_mean_gradient():
    # two steps of rates 0.1 and 0.3 against gradients of mean g = 5: delta = -0.4 * 5 = -2; from c_k = 1 and c = 1, the next is 5
    ones = {"w": torch.ones(1)}
    assert next_control(ones, ones, {"w": torch.tensor([-2.0])}, 0.4)["w"].item() == pytest.approx(5.0)
    # and what the corrections c - c_k had added is taken off again: 5 + 0.5 - 2
    found = next_control({"w": torch.tensor([2.0])}, {"w": torch.tensor([0.5])}, {"w": torch.tensor([-2.0])}, 0.4)
    assert found["w"].item() == pytest.approx(3.5)


@pytest.mark.parametrize("bad", [-0.1, float("inf"), float("nan")])
def test_bad_mu_is_named(bad):
    with pytest.raises(SettingError, match="proximal"):
        LocalTraining(proximal=bad)


def test_a_client_that_did_not_move_keeps_its_control():
    """At a rate of zero delta / rates has no value; what the client knew of its drift stays."""
    own = {"w": torch.tensor([0.5])}
    found = next_control({"w": torch.tensor([2.0])}, own, {"w": torch.tensor([0.0])}, 0.0)
    assert found["w"].item() == 0.5
