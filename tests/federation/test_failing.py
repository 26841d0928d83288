"""Clients that fail on purpose: named, drawn by the seed, and the same ones after a resume."""

from dataclasses import dataclass

import pytest
from distilling import class_data, class_job
from jobs import assert_same_adapter

from fedtailor.assembly import assemble
from fedtailor.errors import SettingError
from fedtailor.federation import Failing
from fedtailor.federation.failing import SimulatedFailure
from fedtailor.messages import Call, MessageSpec, Record
from fedtailor.messages.facts import asked
from fedtailor.messages.record import fact
from fedtailor.records import Message
from fedtailor.report import read_run
from fedtailor.running import run

TRAIN = {"train": MessageSpec(trains="round")}


@dataclass(frozen=True, kw_only=True)
class AskLater(Record, kind="later"):
    """What a phase of a user's own may ask, of the weights after a round."""

    version: int = fact(asked("rounds behind the weights"))


class Echo:
    def answer(self, message: Message) -> Message:
        return message


def fails(half: Failing, version: int) -> bool:
    try:
        half.answer(Message(kind="train", facts={"version": version}))
    except SimulatedFailure:
        return True
    return False


def test_the_share_of_failures_is_that_of_the_job():
    halves = [Failing(inner=Echo(), client=f"client-{i}", requests=TRAIN, share=0.3, seed=1) for i in range(20)]
    failed = [[fails(half, version) for version in range(50)] for half in halves]
    assert 0.25 < sum(map(sum, failed)) / 1000 < 0.35
    assert len({tuple(row) for row in failed}) == 20  # each client of its own
    again = Failing(inner=Echo(), client="client-0", requests=TRAIN, share=0.3, seed=1)
    assert [fails(again, version) for version in range(49, -1, -1)][::-1] == failed[0]  # in any order
    second = [fails(again, version) for version in range(50)]  # a round that is tried again is drawn again
    assert second != failed[0]


def assert_fail(requests, kinds):
    """Hold that a client fails if it is asked what trains a round, and answers all else."""
    half = Failing(inner=Echo(), client="a", requests=requests, share=1 - 1e-9, seed=0)
    failed = set()
    for kind in requests:
        try:
            assert half.answer(Message(kind=kind, facts={"version": 0})).kind == kind
        except SimulatedFailure:
            failed.add(kind)
    assert failed == kinds


def test_figures_and_the_last_alignment_are_of_all_clients(make_job, rows, tiny_bert_folder):
    job = make_job(personalization={"kind": "finetune", "epochs": 1}, evaluation__local_only=True)
    later = Call(question=AskLater, answers=(AskLater,))
    requests = {**assemble(job, given=rows).manifest.down, "later": later.spec(AskLater)}
    assert requests.keys() == {"train", "evaluate", "personalize", "alone", "later"}
    assert_fail(requests, {"train"})
    requests = assemble(class_job(tiny_bert_folder), given=class_data()).manifest.down
    assert requests.keys() == {"train", "align", "evaluate"}
    assert_fail(requests, {"train"})


@pytest.mark.parametrize("protocol", ["averaging", "split"])
def test_failures_are_named_and_the_same_after_a_resume(make_job, rows, tmp_path, protocol):
    job = make_job(clients__failure_share=0.3, protocol__quorum=0.25, stop__rounds=4)
    if protocol == "split":
        job = job.replace("protocol", {"kind": "split", "cut": 1, "quorum": 0.25})
    whole = run(job, data=rows, out=tmp_path / "whole")
    part = run(job.replace("stop.rounds", 2), data=rows, out=tmp_path / "part")
    resumed = run(job, data=rows, resume=part.folder)
    assert_same_adapter(whole.folder, resumed.folder)
    named = [(e["round"], e["client"], e["text"]) for e in read_run(whole.folder).events("failure")]
    assert named
    assert all("SimulatedFailure" in text for _, _, text in named)
    assert named == [(e["round"], e["client"], e["text"]) for e in read_run(resumed.folder).events("failure")]
    assert len({client for _, client, _ in named}) > 1


def test_all_clients_failing_is_no_share(make_job):
    for share in (1.0, -0.1):
        with pytest.raises(SettingError, match=r"clients\.failure_share is a share of the asked clients"):
            make_job(clients__failure_share=share)
