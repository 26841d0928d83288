"""Codes for activations: what comes back is as near as promised, and as long."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtailor.errors import SettingError
from fedtailor.messages import Manifest, MessageSpec
from fedtailor.messages.wires.table import WIRES, Int4Wire, Int8Wire, TopChannelsWire
from fedtailor.records import Message

EVERY = [make() for make in WIRES.values()]


@st.composite
def tables(draw):
    tokens, width = draw(st.integers(1, 9)), draw(st.integers(1, 70))
    table = torch.randn(tokens, width, generator=torch.Generator().manual_seed(draw(st.integers(0, 10**6))))
    table = table * 10.0 ** draw(st.integers(-20, 20))
    if draw(st.booleans()):
        table[draw(st.integers(0, tokens - 1))] = 0
    return table


def back(wire, table, seed=0):
    return wire.unpack(wire.pack(table, seed), table.shape[1])


@pytest.mark.parametrize("wire", EVERY, ids=lambda wire: wire.kind)
@settings(max_examples=50, deadline=None)
@given(table=tables())
def test_a_table_comes_back_within_its_bound(wire, table):
    tensors = wire.pack(table, 3)
    found = wire.unpack(tensors, table.shape[1])
    assert found.shape == table.shape
    assert found.dtype == torch.float32
    largest = table.abs().amax(-1, keepdim=True)
    groups = table.abs().amax()
    bound = {
        "float32": 0 * table.abs(),
        "bfloat16": table.abs() * 2**-8,
        "int8": largest / 254 * (1 + 2**-6),  # half a step; the scale is rounded up to 8 significant bits
        "int4": groups / 7 * (1 + 2**-6),  # a whole step of its group
        "top-channels": groups,
    }[wire.kind]
    assert ((found - table).abs() <= bound + 1e-37).all()
    manifest = Manifest(up={"x": MessageSpec(tensors=wire.specs(table.shape[1]))}, down={}, sizes={"tokens": len(table)})
    manifest.check(Message(kind="x", tensors=tensors), "up")
    assert all(torch.equal(one, other) for one, other in zip(tensors.values(), wire.pack(table, 3).values(), strict=True))


def test_int8_by_hand():
    # 254 / 127 = 2 is a step; 3 / 2 = 1.5 rounds to even, 2 steps, so 3 comes back as 4
    assert back(Int8Wire(), torch.tensor([[254.0, 3.0, -254.0, 0.9]])).tolist() == [[254.0, 4.0, -254.0, 0.0]]


def test_int4_is_right_on_average_and_puts_two_values_into_a_byte():
    table = torch.tensor([[7.0, 0.25, -3.4] + [0.0] * 30])
    assert Int4Wire().pack(table, 0)["values"].shape == (1, 32)  # 33 values are two groups
    mean = torch.stack([back(Int4Wire(), table, seed) for seed in range(4000)]).mean(0)
    assert mean[0, :3].tolist() == pytest.approx([7.0, 0.25, -3.4], abs=0.03)
    assert not mean[0, 3:].any()


def test_top_channels_keeps_the_largest_over_all_tokens():
    table = torch.tensor([[1.0, 0.0, 3.0, 2.0], [-4.0, 1.0, 0.0, 2.0]])  # squares: 17, 1, 9, 8
    assert back(TopChannelsWire(share=0.5), table).tolist() == [[1.0, 0.0, 3.0, 0.0], [-4.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("share", [0, -1, 1.5])
def test_a_share_is_above_zero_and_at_most_one(share):
    with pytest.raises(SettingError, match="share is that of the channels"):
        TopChannelsWire(share=share)
