"""fedtailor check: what a run will come to, told before it."""

import re

import pytest


def test_check_tells_the_plan_and_writes_nothing(fedtailor, write_job, tmp_path):
    job = write_job()
    before = sorted(tmp_path.rglob("*"))
    code, printed, _ = fedtailor("check", job)
    assert code == 0
    for words in (
        "is a job that can run",
        "Jensen-Shannon over who",
        "leaves: train",
        "never leaves",
        "sent a round",
        "3 of 3 clients",
        "for training alone; evaluations come on top",
        "personalization none",
    ):
        assert words in " ".join(printed.split())
    assert sorted(tmp_path.rglob("*")) == before


def test_check_tells_what_personalization_does_to_the_plan(fedtailor, write_job):
    job = write_job()
    code, printed, _ = fedtailor("check", job, "personalization=fedalt")
    assert code == 0
    assert "averaging, running-mean" in printed
    told = " ".join(printed.split())
    assert "personalization fedalt" in told
    assert "for training alone; evaluations and personalization come on top" in told
    # the last message is that of a round: the shared weights, to all three
    down, unit = re.search(r"sent a round .*? up, ([\d.]+) (\w+) down", told).groups()
    last, other = re.search(r"after the last round ([\d.]+) (\w+) down to 3 clients, and figures up", told).groups()
    assert other == unit
    assert float(last) == pytest.approx(float(down), rel=0.01)  # beside the weights they tell something else
    assert "what clients train for themselves is not estimated" in told
    alone = " ".join(fedtailor("check", job, "personalization=finetune", "evaluation.local_only=true")[1].split())
    assert "what clients train for themselves, and alone, is not estimated" in alone
