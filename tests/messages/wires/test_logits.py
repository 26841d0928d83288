"""Logits on the wire: round trips, sizes, and what is refused."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fedtailor.errors import NotFinite, OffManifest
from fedtailor.messages.codec import encode
from fedtailor.messages.wires.logits import ENTRIES, SCALE, VALUES, LogitsWire
from fedtailor.records import Message

logits = arrays.arrays(
    "float32",
    st.tuples(st.integers(1, 5), st.integers(2, 9)),
    elements=st.floats(-50, 50, width=32, allow_nan=False, allow_infinity=False),
)


def exact(values):
    return torch.log_softmax(torch.from_numpy(values), -1)


@settings(deadline=None, max_examples=60)
@given(logits)
def test_float32_is_the_same_distribution(values):
    wire = LogitsWire(dtype="float32", classes=values.shape[1])
    torch.testing.assert_close(wire.decode(wire.encode(torch.from_numpy(values))), exact(values), rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(logits)
def test_float16_strays_by_its_last_digit(values):
    wire = LogitsWire(dtype="float16", classes=values.shape[1])
    found = wire.decode(wire.encode(torch.from_numpy(values)))
    spread = values.max() - values.min() + 1
    assert float((found - exact(values)).abs().max()) <= 2 * (2**-11) * spread + 1e-3  # of a value, and of the sum that scales it


@settings(deadline=None, max_examples=60)
@given(logits)
def test_int8_strays_by_half_a_step(values):
    wire = LogitsWire(dtype="int8", classes=values.shape[1])
    tensors = wire.encode(torch.from_numpy(values))
    wanted = torch.from_numpy(values)
    centred = wanted - (wanted.amax(-1, keepdim=True) + wanted.amin(-1, keepdim=True)) / 2
    found = tensors[VALUES].float() * tensors[SCALE][:, None]
    assert bool(((found - centred).abs() <= tensors[SCALE][:, None] / 2 + 1e-4).all())
    torch.testing.assert_close(wire.decode(tensors).exp().sum(-1), torch.ones(len(values)))


@settings(deadline=None, max_examples=80)
@given(logits, st.sampled_from(["float32", "float16", "int8"]), st.data())
def test_a_row_that_was_cut_sums_to_one_and_spreads_the_rest(values, dtype, data):
    classes = values.shape[1]
    k = data.draw(st.integers(1, classes - 1))
    wire = LogitsWire(dtype=dtype, classes=classes, top_k=k, temperature=data.draw(st.sampled_from([1.0, 2.0])))
    tensors = wire.encode(torch.from_numpy(values))
    found = wire.decode(tensors)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(len(values)), rtol=1e-4, atol=1e-4)
    assert bool(torch.isfinite(found).all())  # nothing is taken as impossible
    sent = tensors[ENTRIES].long() + 2**15
    for row, kept in zip(found, sent.tolist(), strict=True):
        rest = [row[c].item() for c in range(classes) if c not in kept]
        assert max(rest) - min(rest) < 1e-6
    wire.check(tensors, len(values))


def test_a_row_that_is_softened_before_it_is_cut_by_hand():
    # probabilities 64, 16, 16 and 4 %; their roots are as 4 to 2 to 2 to 1, so at T = 2 the likeliest has 4/9 and 5/9 are left for three
    row = torch.tensor([[0.16, 0.64, 0.16, 0.04]]).log()
    wire = LogitsWire(dtype="float32", classes=4, top_k=1, temperature=2.0)
    found = wire.decode(wire.encode(row))
    torch.testing.assert_close(torch.softmax(found / 2, -1), torch.tensor([[5 / 27, 4 / 9, 5 / 27, 5 / 27]]))
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(1))


def test_what_is_cut_is_right_at_the_temperature_of_learning():
    row = torch.cat([torch.tensor([5.0, 3.0]), torch.linspace(-30, 0, 200)])[None]
    full = torch.softmax(row / 2, -1)
    rebuilt = {t: LogitsWire(dtype="float32", classes=202, top_k=2, temperature=t) for t in (1.0, 2.0)}
    left = {t: torch.softmax(wire.decode(wire.encode(row)) / 2, -1)[0, 2:].sum() for t, wire in rebuilt.items()}
    torch.testing.assert_close(left[2.0], full[0, 2:].sum(), rtol=1e-3, atol=1e-4)
    assert left[1.0] > 1.5 * full[0, 2:].sum()  # spread first and softened then, it is more


def test_whole_rows_are_never_softened():
    row = torch.tensor([[0.0, 4.0, 6.0]])
    plain, hot = (LogitsWire(dtype="float32", classes=3, temperature=t) for t in (1.0, 3.0))
    assert torch.equal(plain.encode(row)[VALUES], hot.encode(row)[VALUES])
    assert torch.equal(plain.decode(plain.encode(row)), hot.decode(hot.encode(row)))


def test_one_row_by_hand():
    # probabilities 1/2, 1/4, 1/8, 1/8; the two likeliest and 1/4 for the rest, 1/8 for each of the two
    row = torch.tensor([[0.125, 0.5, 0.125, 0.25]]).log()
    wire = LogitsWire(dtype="float32", classes=4, top_k=2)
    tensors = wire.encode(row + 7.0)  # logits are the same with any number added
    assert (tensors[ENTRIES].long() + 2**15).tolist() == [[1, 3]]
    middle = (math.log(0.5) + math.log(0.25)) / 2
    torch.testing.assert_close(tensors[VALUES], torch.tensor([[0.5, 0.25, 0.25]]).log() - middle)
    torch.testing.assert_close(wire.decode(tensors), row)


def test_int8_by_hand():
    # around the middle: -3, 1, 3; the scale is 3 / 127; 1 / (3 / 127) = 42.33
    tensors = LogitsWire(dtype="int8", classes=3).encode(torch.tensor([[0.0, 4.0, 6.0]]))
    assert tensors[VALUES].tolist() == [[-127, 42, 127]]
    assert tensors[SCALE].tolist() == pytest.approx([3 / 127])
    same = LogitsWire(dtype="int8", classes=3)
    torch.testing.assert_close(same.decode(same.encode(torch.full((1, 3), 5.0))), torch.full((1, 3), math.log(1 / 3)))


def test_whole_rows_over_words_are_a_wall():
    # 1,000 texts of 40 tokens, 49,152 tokens, 2 bytes: 3.9 GB, against 1.84 MB of LoRA; k entries take k + 1 values and k places of 2 bytes
    sizes = {k: LogitsWire(dtype="float16", classes=49_152, top_k=k).size_bytes(40_000) for k in (None, 8, 32, 128)}
    assert sizes == {None: 3_932_160_000, 8: 34 * 40_000, 32: 130 * 40_000, 128: 514 * 40_000}


@pytest.mark.parametrize(
    ("dtype", "top_k", "classes", "row"),
    [
        ("float32", None, 77, 308),
        ("float16", None, 77, 154),
        ("int8", None, 77, 81),  # 77 and a scale of 4
        ("float16", 16, 49152, 66),  # 17 values of 2, 16 places of 2
        ("int8", 16, 49152, 53),  # 17 values, a scale of 4, 16 places of 2
        ("float32", 8, 100_000, 68),  # 9 values of 4, 8 places of 4: too many words for int16
    ],
)
def test_the_size_is_that_of_the_formula(dtype, top_k, classes, row):
    wire = LogitsWire(dtype=dtype, classes=classes, top_k=top_k)
    assert wire.size_bytes(10) == 10 * row
    tensors = wire.encode(torch.randn(10, classes))
    assert sum(t.numel() * t.element_size() for t in tensors.values()) == 10 * row
    assert {name: (str(t.dtype)[6:], tuple(t.shape)) for name, t in tensors.items()} == {
        name: (spec.dtype, spec.shape) for name, spec in wire.specs(10).items()
    }
    sent = len(encode(Message(kind="train", tensors=tensors, facts={"version": 0})))
    assert 10 * row < sent < 10 * row + 350


def test_entries_beyond_int16_come_back():
    wire = LogitsWire(dtype="float32", classes=70_000, top_k=1)
    row = torch.zeros(1, 70_000)
    row[0, 69_999] = 30.0
    tensors = wire.encode(row)
    assert tensors[ENTRIES].dtype == torch.int32
    assert wire.decode(tensors)[0].argmax() == 69_999


def test_some_places_can_be_read_alone():
    wire = LogitsWire(dtype="int8", classes=6, top_k=2)
    tensors = wire.encode(torch.randn(5, 6, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(wire.decode(tensors, torch.tensor([3, 1])), wire.decode(tensors)[[3, 1]])


def test_nan_is_not_hidden_in_int8():
    row = torch.zeros(1, 4)
    row[0, 1] = math.nan
    with pytest.raises(NotFinite, match="logits"):
        LogitsWire(dtype="int8", classes=4).encode(row)


def test_messages_that_are_made_up_are_refused():
    wire = LogitsWire(dtype="float32", classes=6, top_k=2)
    tensors = wire.encode(torch.randn(3, 6, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(OffManifest, match="3 rows where 4"):
        wire.check(tensors, 4)
    for entries, why in (([-(2**15) + 9, -(2**15)], "beyond the 6"), ([-(2**15) + 1] * 2, "twice")):
        with pytest.raises(OffManifest, match=why):
            wire.check({**tensors, ENTRIES: torch.tensor([entries] * 3, dtype=torch.int16)}, 3)
