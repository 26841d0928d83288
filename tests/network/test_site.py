"""A site's own process: what it answers, with a model's process that is not there."""

import json
import os

import pytest

from fedtailor.messages import encode
from fedtailor.network.kit.policy import Policy
from fedtailor.network.kit.site_file import SiteFile
from fedtailor.network.kit.versions import versions
from fedtailor.network.meeting.meeting import SERVERS, job_to_send
from fedtailor.network.site import site
from fedtailor.network.site.model_keeper import Failed
from fedtailor.network.site.pipe import MESSAGE, Ended, Pipe
from fedtailor.records import Message

PING = encode(Message(kind="ping"))


class Keeper:
    """Stands for the model's process; `fault` is raised by it."""

    fault: Exception | None = None

    def __init__(self, opening, log):
        self.opening = opening

    def open(self, *, again=False):
        return {"examples": 3}

    def answer(self, ticket, data):
        if Keeper.fault:
            raise Keeper.fault
        return data, 0.5

    def close(self):
        pass


@pytest.fixture
def half(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "ModelKeeper", Keeper)
    monkeypatch.setattr(Keeper, "fault", None)
    SiteFile(data=("/a",), policy=Policy(bytes_per_day=1000)).write(tmp_path)
    return site.Site("site-1", tmp_path)


@pytest.fixture
def told(make_job):
    return {
        "run": "tiny-1",
        "ask": False,
        "sites": ["site-1"],
        SERVERS: {"versions": versions()},
        "job": json.loads(json.dumps(job_to_send(make_job()))),
    }


def test_a_job_is_opened_and_messages_are_answered(half, told):
    assert half.open(told) == {"info": {"examples": 3}}
    assert half.answer("1", PING) == ({"seconds": 0.5}, PING)


def test_other_versions_are_refused_and_both_are_named(half, told):
    told[SERVERS]["versions"]["fedtailor"] = "0.0.1"
    assert half.open(told)["refused"].startswith("fedtailor is ")
    assert half.open(told)["refused"].endswith("at this site and 0.0.1 at the server; install one version at both")


def test_to_be_asked_is_not_to_be_opened(half, told):
    assert half.open(told | {"ask": True}) == {"info": {}}
    assert half.answer("1", PING) == ({"failure": ["refused", "NotOpened"]}, b"")


def test_nothing_is_answered_before_a_job_is_open(half, told):
    assert half.answer("1", PING) == ({"failure": ["refused", "NotOpened"]}, b"")
    told["job"]["protocol"]["kind"] = "split"
    assert "not permitted" in half.open(told)["refused"]
    assert half.answer("1", PING) == ({"failure": ["refused", "NotOpened"]}, b"")


def test_a_sites_name_is_no_path(half, told):
    assert "no name of a folder" in half.open(told | {"sites": ["site-1", "../site-2"]})["refused"]


@pytest.mark.parametrize("run", ["../site-2", "a/b", "", ".hidden", "x" * 200])
def test_a_runs_name_is_no_path(half, told, run):
    assert half.open(told | {"run": run}) == {"refused": "the name of the run, or of a site, is no name of a folder"}


def test_what_is_reported_of_a_fault_is_its_kind_and_mark(half, told, tmp_path):
    half.open(told)
    for fault, mark in ((Failed("failed", "OutOfMemoryError"), "OutOfMemoryError"), (OSError("/home/smith/data"), "OSError")):
        Keeper.fault = fault
        assert half.answer("1", PING) == ({"failure": ["failed", mark]}, b"")
    assert "/home/smith/data" in (tmp_path / "site.log").read_text()


def test_the_most_bytes_of_a_day_end_it(half, told, tmp_path):
    half.open(told)
    large = encode(Message(kind="ping", facts={"text": "x" * 600}))
    assert half.answer("1", large) == ({"failure": ["refused", "BytesPerDay"]}, b"")  # 600 came, and 600 more would go
    assert "seconds" in half.answer("2", PING)[0]  # there is room for it
    assert half.answer("3", large) == ({"failure": ["refused", "BytesPerDay"]}, b"")
    assert json.loads((tmp_path / "bytes.json").read_text())["bytes"] <= 1000
    assert "above the most of a day (1,000)" in (tmp_path / "site.log").read_text()


def test_something_else_than_a_job_is_a_failure_and_no_fault(half, told):
    assert half.open({}) == {"failure": ["failed", "KeyError"]}
    assert half.open(told | {"job": []})["refused"].startswith("the job is not in the form")


def test_frames_come_as_they_went_and_an_end_is_noticed():
    here, there = os.pipe()
    with os.fdopen(here, "rb") as source, os.fdopen(there, "wb") as sink:
        Pipe(source, sink).put(MESSAGE, b"abc")
        assert Pipe(source, sink).get() == (MESSAGE, b"abc")
        sink.write(b"M" + (10).to_bytes(8, "big") + b"half")
        sink.close()
        with pytest.raises(Ended):
            Pipe(source, sink).get()
