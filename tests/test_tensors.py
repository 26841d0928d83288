"""Arithmetic on named tensors."""

import pytest
import torch

from fedtailor.errors import NotFinite, ShapeMismatch
from fedtailor.tensors import add, add_scaled_, check_finite, clone, flatten, norm, scale, size_bytes, subtract, zeros_like


def test_arithmetic_by_name():
    left, right = (
        {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])},
        {"a": torch.tensor([10.0, 20.0]), "b": torch.tensor([30.0])},
    )
    assert add(left, right)["a"].tolist() == [11.0, 22.0]
    assert subtract(right, left)["b"].tolist() == [27.0]
    assert scale(left, -2)["a"].tolist() == [-2.0, -4.0]
    assert norm({"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}) == 5.0


def test_other_names_are_refused_and_named():
    with pytest.raises(ShapeMismatch, match="'b'"):
        add({"a": torch.zeros(1), "b": torch.zeros(1)}, {"a": torch.zeros(1)})


def test_flatten_goes_by_name_not_by_order_of_insertion():
    assert flatten({"b": torch.tensor([2.0]), "a": torch.tensor([[1.0]])}).tolist() == [1.0, 2.0]


def test_bfloat16_is_added_in_float32():
    # 256 + 1 is 256 in bfloat16, 257 in float32
    total = {"a": torch.tensor([256.0])}
    add_scaled_(total, {"a": torch.ones(1, dtype=torch.bfloat16)}, 1.0)
    assert total["a"].item() == 257.0
    assert zeros_like({"a": torch.ones(1, dtype=torch.bfloat16)})["a"].dtype == torch.float32


def test_a_clone_shares_nothing():
    original = {"a": torch.zeros(2)}
    clone(original)["a"].add_(1)
    assert original["a"].tolist() == [0.0, 0.0]
    assert size_bytes(original) == 8


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_named(bad):
    with pytest.raises(NotFinite, match="'b'"):
        check_finite({"a": torch.zeros(1), "b": torch.tensor([0.0, bad])}, "here")
