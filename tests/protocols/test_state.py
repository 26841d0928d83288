"""What is kept from round to round: records, under the names that run folders have had for them."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from fedtailor.aggregation.adaptive import Moments
from fedtailor.errors import ResumeError
from fedtailor.messages import state_of, tensors_of
from fedtailor.prompting import Prompt
from fedtailor.prompting.cma import Strategy, ask, tell
from fedtailor.prompting.cma import start as begin
from fedtailor.protocols.averaging.state import Kept as OfAveraging
from fedtailor.protocols.distillation.state import Kept as OfDistillation
from fedtailor.protocols.distillation.state import Taught
from fedtailor.protocols.prompting.state import Evolved, Searched, cloud_of, with_cloud
from fedtailor.protocols.retrieval.blocks import Kept as OfRetrieval
from fedtailor.protocols.split.state import Kept as OfSplit
from fedtailor.protocols.split.state import Memory

NUMBERS = {
    "of averaging": (
        OfAveraging,
        {"own": {"w": 1, "a/b": 2}, "control": {"w": 3}, "moments": {"exp_avg/w": 4, "step/w": 5}},
        {"own/w": 1, "own/a/b": 2, "control/w": 3, "exp_avg/w": 4, "step/w": 5},
    ),
    "of distillation": (
        OfDistillation,
        {"own": {"w": 1}, "fit": 2, "counts": 3, "moments": {"momentum_buffer/w": 4}},
        {"own/w": 1, "told/fit": 2, "told/counts": 3, "momentum_buffer/w": 4},
    ),
    "of its server": (
        Taught,
        {"logits": {"logits/values": 1}, "now": 2, "before": 3, "fits": {"a": 4}, "counts": {"a": 5}, "scores": {"b": 6}},
        {"logits/values": 1, "rows/now": 2, "rows/before": 3, "fit/a": 4, "counts/a": 5, "scores/b": 6},
    ),
    "of split": (
        OfSplit,
        {"own": {"w": 1}, "moments": {"exp_avg/w": 2}, "lost_H": 3},
        {"own/w": 1, "moments/exp_avg/w": 2, "lost/split-loss-gradient": 3},
    ),
    "of split's server": (
        Memory,
        {"lost": {"a": 1}, "cut": {"a": 2}, "means": {"b": 3}, "moments": {"a": {"exp_avg/w": 4}, "ab": {"step/w": 5}}},
        {"lost/a": 1, "cut/a": 2, "means/b": 3, "moments/a/exp_avg/w": 4, "moments/ab/step/w": 5},
    ),
    "of a search": (Searched, {"search": 1}, {"search": 1}),
    "of an evolution": (Evolved, {"mean": 1, "axes": 2, "sigma": 3}, {"mean": 1, "axes": 2, "sigma": 3}),
    "of retrieval": (OfRetrieval, {"tally": 1}, {"tally": 1}),
    "of an adaptive rule": (Moments, {"m": {"w": 1}, "v": {"w": 2}}, {"m/w": 1, "v/w": 2}),
}


def tensors(values):
    if isinstance(values, dict):
        return {name: tensors(value) for name, value in values.items()}
    return torch.tensor(values)


@pytest.mark.parametrize(("form", "fields", "names"), NUMBERS.values(), ids=NUMBERS)
def test_records_are_read_back_by_the_names_of_their_files(form, fields, names):
    state = form(**tensors(fields))
    assert {name: value.item() for name, value in tensors_of(state).items()} == names
    assert state_of(form, tensors(names)) == state
    assert state_of(form, {}) == form()


def test_what_belongs_to_no_field_is_refused():
    with pytest.raises(ResumeError, match=r"m/w, u/w.*begun by another version.*fedtailor run"):
        state_of(Moments, {"m/w": torch.ones(1), "u/w": torch.ones(1)})


def test_a_cloud_is_read_back_to_the_bit():
    strategy = Strategy(dimensions=3, population=4)
    cloud = begin(np.zeros(3), 0.7)
    drawn = ask(cloud, strategy, np.random.default_rng(0))
    cloud = tell(cloud, strategy, drawn, [3.0, 1.0, 2.0, 4.0])
    back = cloud_of(with_cloud(cloud, Prompt(instruction=""), 1))
    assert all(np.array_equal(getattr(back, each.name), getattr(cloud, each.name)) for each in fields(cloud))
