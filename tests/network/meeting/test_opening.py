"""The first question of a job: what the server makes of a site's answer, whatever that is."""

import pytest

from fedtailor.errors import RunError
from fedtailor.federation.nvflare.line import Patience
from fedtailor.network.meeting.opening import SiteRefused, open_at_sites

INFO = {
    "examples": 24,
    "measures": 1,
    "versions": {"torch": "2.9"},
    "precision": "float32",
    "threads": 1,
    "device": "cpu",
    "memory_gb": None,
}


class Line:
    """Two sites; what the second one answers is given."""

    sites = ("north", "south")

    def __init__(self, answer):
        self.answer = answer

    def open(self, client, told, timeout_s):
        if client == "south" and not told["ask"]:
            return self.answer
        return {"info": {} if told["ask"] else INFO}

    def alive(self, client, timeout_s):
        return True

    def stopped(self):
        return False


def asked(answer, most_examples=None):
    left_out = {}
    found = open_at_sites(
        Line(answer), {"run": "a"}, Patience(beat_s=0.01), leave_out=left_out.__setitem__, most_examples=most_examples
    )
    return found, left_out


def test_what_sites_report_of_themselves_is_returned():
    gpu = {**INFO, "device": "cuda", "memory_gb": 80}
    assert asked({"info": gpu}) == ({"north": INFO, "south": gpu}, {})


def test_a_site_with_more_examples_than_the_job_takes_is_left_out_by_name():
    found, left_out = asked({"info": {**INFO, "examples": 10**12 - 1}}, most_examples=1000)
    assert list(found) == ["north"]
    assert left_out == {"south": "it reports 999,999,999,999 training examples, and clients.most_examples is 1,000"}
    with pytest.raises(RunError, match="no site can take part: north: it reports 24"):
        asked({"info": INFO}, most_examples=3)


@pytest.mark.parametrize(
    "answer",
    [
        {"info": {}},
        {"info": {**INFO, "examples": -3}},
        {"info": {**INFO, "examples": float("nan")}},
        {"info": {**INFO, "examples": 10**30}},
        {"info": {**INFO, "examples": "many"}},
        {"info": {**INFO, "versions": ["torch"]}},
        {"info": {**INFO, "versions": {"torch": "x" * 1000}}},
        {"info": {**INFO, "note": "more than is asked for"}},
        {"info": [1]},
        {"info": INFO, "refused": "both"},
        {"failure": []},
        {"failure": [1, {}]},
        {},
        None,
    ],
    ids=repr,
)
def test_a_site_that_says_something_else_is_named_and_left_out(answer):
    assert asked(answer) == ({"north": INFO}, {"south": "off-manifest Opening"})


def test_a_site_that_cannot_load_the_job_is_named_and_nothing_begins():
    with pytest.raises(RunError, match="a site cannot take part: south: failed OSError"):
        asked({"failure": ["failed", "OSError"]})


def test_the_words_of_a_site_do_nothing_to_the_terminal_of_somebody_else():
    with pytest.raises(SiteRefused) as refused:
        asked({"refused": "\x1b[2Jgone\n" + "x" * 10_000})
    assert str(refused.value).startswith("south refuses: [2Jgonexxx")
    assert len(str(refused.value)) < 2200
