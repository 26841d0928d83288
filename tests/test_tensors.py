"""Arithmetic on named tensors."""

import pytest
import torch

from fedtailor import tensors
from fedtailor.errors import NotFinite, ShapeMismatch
from fedtailor.tensors import (
    Lazy,
    add,
    add_scaled_,
    cast,
    check_finite,
    clone,
    form,
    norm,
    pick,
    scale,
    size_bytes,
    subtract,
    zeros_like,
)


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


def test_lazy_tensors_are_made_when_asked_for_and_hold_still_once_settled():
    made = []

    def plus(left, right):
        if not left.is_meta:
            made.append(left.shape)
        return left + right

    weights, start = {"a": torch.ones(2), "b": torch.ones(3)}, {"a": torch.ones(2), "b": torch.zeros(3), "c": torch.ones(9)}
    lazy = Lazy(plus, weights, start)
    part = pick(lazy, lambda name: name == "b")
    assert (list(lazy), len(part), "c" in lazy, "a" in part) == (["a", "b"], 1, False, False)
    assert (form(lazy, "b").shape, size_bytes(part), made) == ((3,), 12, [])
    assert cast(part, torch.bfloat16)["b"].dtype == torch.bfloat16
    lazy.settle()
    for value in weights.values():
        value.add_(5)
    assert (lazy["a"].tolist(), part["b"].tolist()) == ([2.0, 2.0], [1.0, 1.0, 1.0])
    assert len(made) == 3
    with pytest.raises(KeyError):
        part["a"]


def test_what_is_not_finite_is_found_in_any_chunk(monkeypatch):
    monkeypatch.setattr(tensors, "CHUNK", 2)
    check_finite({"w": torch.ones(5), "none": torch.ones(0), "one": torch.tensor(1.0)}, "here")
    with pytest.raises(NotFinite, match="'w'"):
        check_finite({"w": torch.tensor([1.0, 1.0, 1.0, 1.0, float("inf")])}, "here")
    assert norm({"w": torch.tensor([3.0, 0.0, 4.0]), "none": torch.ones(0)}) == 5.0
