"""fedtailor check: what a run will come to, told before it."""

import json
import re

import pytest


def test_check_reports_the_plan_and_writes_nothing(fedtailor, write_job, tmp_path):
    job = write_job()
    before = sorted(tmp_path.rglob("*"))
    code, printed, _ = fedtailor("check", job)
    assert code == 0
    for words in (
        "is a job that can run",
        "Jensen-Shannon over who",
        "leaves: train",
        "never leaves",
        "bytes up, training",
        "bytes down, evaluations",
        "3 of 3 clients",
        "memory about",
        "personalization none",
    ):
        assert words in " ".join(printed.split())
    assert sorted(tmp_path.rglob("*")) == before


def test_check_reports_what_personalization_does_to_the_plan(fedtailor, write_job):
    job = write_job()
    code, printed, _ = fedtailor("check", job, "personalization=fedalt")
    assert code == 0
    assert "averaging, running-mean" in printed
    text = " ".join(printed.split())
    assert "personalization fedalt" in text
    # the last message is that of a round: the shared weights, to all three
    down, unit = re.search(r"bytes down, training ([\d.]+) (\w+)", text).groups()
    last, other = re.search(r"bytes down, personalization ([\d.]+) (\w+)", text).groups()
    assert other == unit
    assert float(last) == pytest.approx(float(down), rel=0.01)  # beside the weights they tell something else
    assert "what clients train and measure for themselves after the last round is not among operations" in text
    alone = " ".join(fedtailor("check", job, "personalization=finetune", "evaluation.local_only=true")[1].split())
    assert "bytes down, training alone" in alone


def test_general_text_is_in_the_plan(fedtailor, write_job, tmp_path):
    (tmp_path / "general.txt").write_text("A river runs to the sea.\n" * 20)
    _, plain, _ = fedtailor("check", write_job())
    _, found, _ = fedtailor("check", write_job(evaluation={"retained": "general.txt"}))
    assert re.search(r"general text +[\d,]+ tokens in 20 rows of general\.txt", found)
    assert "general text" not in plain
    spent = [re.search(r"operations, evaluations +(.*)", text).group(1) for text in (plain, found)]
    assert spent[0] != spent[1]


def test_limits_show_seconds_memory_by_part_and_what_would_help(fedtailor, write_job):
    options = ["--bandwidth", "1e3", "--client-memory", "1e6", "--client-flops", "1e9"]
    code, printed, _ = fedtailor("check", write_job(), *options)
    text = " ".join(printed.split())
    assert code == 0
    for words in ("seconds on the links", "program", "activations", "too much: client", "no setting is enough alone", "given"):
        assert words in text
    overrides = ["protocol.local.batch_size=4", "protocol.local.accumulate=2", "evaluation.batch_size=4"]
    assert fedtailor("check", write_job(), *overrides)[0] == 0  # what was advised can be typed


def test_the_estimate_as_json_is_alone_on_stdout(fedtailor, write_job):
    code, printed, _ = fedtailor("check", write_job(), "--json", "--client-flops", "1e9")
    found = json.loads(printed)
    assert code == 0
    assert found["counted"]
    assert found["bytes"]["train"]["up"] > 0
    assert found["clients"]["a"]["memory"]["peak"] > found["clients"]["a"]["memory"]["activations"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bandwidth", "0"], "--bandwidth is a number, 1 or more"),
        (["--bandwidth", "1e-300"], "--bandwidth is a number, 1 or more"),
        (["--latency", "1e308"], "--latency is a number of seconds from 0 to 86,400"),
        (["--client-memory", "nan"], "--client-memory is a number, 1 or more"),
        (["--latency", "-1"], "--latency is a number of seconds"),
        (["--at-once", "0"], "--at-once is a number of clients"),
    ],
)
def test_a_limit_that_makes_no_sense_is_one_paragraph(fedtailor, write_job, options, words):
    code, printed, complaint = fedtailor("check", write_job(), *options)
    assert (code, printed) == (2, "")
    assert words in complaint
    assert len(complaint.strip().split("\n\n")) == 1
