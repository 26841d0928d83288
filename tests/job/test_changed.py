"""The settings of a job that are not the defaults."""

import pytest

from fedtailor.job import Job
from fedtailor.job.changed import changed_settings

LEAST = {"name": "a", "backbone": "tiny", "task": {"kind": "generation"}, "data": {"train": "rows.jsonl"}}


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ({}, {}),
        ({"seed": 3, "stop": {"rounds": 7}}, {"seed": 3, "stop.rounds": 7}),
        ({"tuning": {"kind": "prefix", "length": 5}}, {"tuning.length": 5}),
        ({"protocol": {"kind": "split", "cut": 4, "wire": "int8"}}, {"protocol.wire.kind": "int8"}),
        ({"protocol": {"kind": "averaging", "local": {"learning_rate": 0.01}}}, {"protocol.local.learning_rate": 0.01}),
        (
            {"clients": {"partition": {"kind": "iid"}, "count": 4}, "report_to": ["wandb"]},
            {"clients.count": 4, "report_to": ["wandb"]},
        ),
    ],
    ids=["none", "plain", "of a tuning", "of a protocol", "what auto stands for", "lists"],
)
def test_only_what_was_chosen_is_named(more, changed):
    assert changed_settings(Job.from_dict(LEAST | more)) == {"data.train": "rows.jsonl"} | changed
