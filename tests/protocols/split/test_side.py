"""What a code of the wire loses is known on the side that writes."""

import pytest
import torch

from fedtailor.messages.wires.table import BFloat16Wire, Float32Wire
from fedtailor.protocols.split.side import Line


def test_what_a_code_loses_is_a_share_of_the_norm_mean_over_steps():
    line = Line(BFloat16Wire(), lambda step: 0)
    line.write(torch.tensor([[1.0, 0.0]]), 0, "activations")  # nothing is lost
    line.write(torch.tensor([[1.0 + 2**-8, 0.0]]), 1, "activations")  # rounded to 1
    assert line.error == pytest.approx((0 + 2**-8 / (1 + 2**-8)) / 2)
    line.write(torch.zeros(2, 2), 2, "activations")
    assert line.error == pytest.approx(2**-8 / (1 + 2**-8) / 3)


def test_an_exact_code_loses_nothing_and_says_nothing():
    line = Line(Float32Wire(), lambda step: 0)
    line.write(torch.tensor([[1.0 + 2**-8]]), 0, "activations")
    assert line.error is None
