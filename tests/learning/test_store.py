"""What a client keeps from round to round."""

import pytest
import torch

from fedtailor.learning.store import Store
from fedtailor.tasks.shard import TokenShard

NOTHING = TokenShard(
    tokens_T=torch.zeros(0, dtype=torch.int32),
    target_T=torch.zeros(0, dtype=torch.bool),
    starts=torch.zeros(1, dtype=torch.int64),
)


@pytest.fixture(params=["memory", "folder"])
def state(request, tmp_path):
    folder = tmp_path / "a" if request.param == "folder" else None
    return Store(id="a", folder=folder)


def kept(state, version):
    return {name: t.item() for name, t in state.recall(version).items()}


def test_a_client_recalls_the_state_of_the_version_it_is_asked_from(state):
    assert kept(state, 0) == {}
    state.keep(3, {"m": torch.tensor(3.0)})
    assert kept(state, 2) == {}
    assert kept(state, 7) == {"m": 3.0}
    state.keep(8, {"m": torch.tensor(8.0)})
    assert (kept(state, 7), kept(state, 8)) == ({"m": 3.0}, {"m": 8.0})


def test_three_versions_are_kept(state):
    for version in (1, 2, 3, 4):
        state.keep(version, {"m": torch.tensor(float(version))})
    assert (kept(state, 1), kept(state, 2), kept(state, 4)) == ({}, {"m": 2.0}, {"m": 4.0})


def test_a_client_ahead_of_the_checkpoint_rolls_back(state):
    state.keep(1, {"m": torch.tensor(1.0)})
    state.keep(2, {"m": torch.tensor(2.0)})
    state.roll_back(1)
    assert kept(state, 5) == {"m": 1.0}
