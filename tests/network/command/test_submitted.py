"""A run while it is at the server: what is done when the engine stops it, a site is lost, or the server goes away."""

import pytest
from scripted_server import ENDED, STOPPED, ServerSession, script

from fedtailor.errors import JobError, RunError
from fedtailor.federation.nvflare.line import ServerAway
from fedtailor.network.command import submitted as at_server


def test_a_job_that_ends_is_submitted_once_and_every_event_is_reported_once(hand_in):
    told = [["start", {}], ["round", {}], ["done", {}]]
    server = ServerSession(script("SUBMITTED", "RUNNING", "RUNNING", ENDED, events=told, outcome={"ended": "done"}))
    handed, events = hand_in(server, without=["site-2"])
    assert handed.to_the_end().ended == "done"
    assert [kind for kind, _ in events] == ["start", "round", "done"]
    assert server.submitted == [["site-1"]]


def test_a_job_that_the_engine_stopped_is_submitted_again(hand_in):
    server = ServerSession(
        script("RUNNING", STOPPED, events=[["start", {}]]),
        script("RUNNING", ENDED, events=[["resume", {}]], outcome={"ended": "done"}),
    )
    handed, events = hand_in(server)
    assert handed.to_the_end().ended == "done"
    assert [kind for kind, _ in events] == ["start", "warning", "resume"]
    assert STOPPED in events[1][1]
    assert len(server.submitted) == 2


def test_it_is_not_submitted_for_ever(hand_in):
    server = ServerSession(*(script("RUNNING", STOPPED, events=[["start", {}]]) for _ in range(9)))
    with pytest.raises(RunError, match=f"{at_server.SUBMISSIONS} times"):
        hand_in(server)[0].to_the_end()
    assert len(server.submitted) == at_server.SUBMISSIONS


def test_a_job_of_which_nothing_is_heard_is_submitted_twice(hand_in):
    server = ServerSession(*(script("SUBMITTED", STOPPED) for _ in range(9)))
    with pytest.raises(RunError, match=f"did not begin: the engine stopped the job .{STOPPED}"):
        hand_in(server)[0].to_the_end()
    assert len(server.submitted) == 2


def test_a_job_that_lost_a_site_while_it_was_opened_is_submitted_again(hand_in):
    lost = {"ended": "again", "text": "site-2 was lost while the job was opened"}
    server = ServerSession(
        script("RUNNING", ENDED, events=[["opening", {}]], outcome=lost), script("RUNNING", ENDED, outcome={"ended": "done"})
    )
    handed, events = hand_in(server)
    assert handed.to_the_end().ended == "done"
    assert events[1] == ("warning", f"{lost['text']}; it is submitted again and resumes from what is kept")


def test_who_gives_no_sign_of_life_after_a_stop_is_left_out(hand_in):
    server = ServerSession(
        script("RUNNING", STOPPED, events=[["start", {}]]), script("RUNNING", ENDED, outcome={"ended": "done"})
    )
    server.silent = {"site-2": 1.0}  # the last one before it died: the server lists it for ten minutes more
    assert hand_in(server)[0].to_the_end().ended == "done"
    assert server.submitted == [["site-1", "site-2"], ["site-1"]]


def test_who_has_been_quiet_for_long_is_not_there(hand_in):
    server = ServerSession(script("RUNNING", ENDED, outcome={"ended": "done"}))
    server.signs, server.silent = 1000.0, {"site-2": 1000.0 - at_server.QUIET_S}
    assert hand_in(server)[0].to_the_end().ended == "done"
    assert server.submitted == [["site-1"]]


def test_a_server_that_is_away_when_the_job_is_submitted_is_waited_for(hand_in):
    server = ServerSession(script("RUNNING", ENDED, outcome={"ended": "done"}))
    server.away = 2
    handed, events = hand_in(server)
    assert handed.to_the_end().ended == "done"
    assert (server.back, events) == (2, [("warning", "away; it is waited for")] * 2)
    assert len(server.marks) == 3
    assert len(set(server.marks)) == 1  # so that the server takes it for one job, should it have the first


def test_a_server_that_is_away_again_and_again_is_not_waited_for_for_ever(hand_in):
    server = ServerSession(script("RUNNING", ENDED))
    server.away = 1000
    with pytest.raises(ServerAway):
        hand_in(server)[0].to_the_end()
    assert server.back == at_server.ABSENCES


@pytest.mark.parametrize(("ended", "error"), [("mend", JobError), ("failed", RunError)])
def test_a_refusal_and_a_failure_end_it(hand_in, ended, error):
    server = ServerSession(script("RUNNING", ENDED, outcome={"ended": ended, "text": "site-1 refuses: no"}))
    with pytest.raises(error, match="site-1 refuses: no"):
        hand_in(server)[0].to_the_end()


def test_a_server_that_comes_back_with_the_job_is_watched_on(hand_in):
    server = ServerSession(
        script("RUNNING", ServerAway("away"), "RUNNING", ENDED, events=[["start", {}]], outcome={"ended": "done"})
    )
    handed, events = hand_in(server)
    assert handed.to_the_end().ended == "done"
    assert (server.back, len(server.submitted), server.aborted) == (1, 1, [])
    assert events == [("start", ""), ("warning", "away; it is waited for")]


def test_a_job_that_a_server_lists_but_does_not_run_any_more_is_submitted_again(hand_in):
    server = ServerSession(
        script("RUNNING", ServerAway("away"), "RUNNING", events=[["start", {}]]),
        script("RUNNING", ENDED, outcome={"ended": "done"}),
    )
    handed, _ = hand_in(server)
    server.come_back = lambda patience_s: setattr(server, "restarts", 1)
    assert handed.to_the_end().ended == "done"
    assert server.aborted == ["job-1"]
    assert len(server.submitted) == 2


def test_a_job_that_waits_for_its_turn_is_reported_once(hand_in, monkeypatch):
    monkeypatch.setattr(at_server, "QUEUE_S", -1.0)
    server = ServerSession(script("SUBMITTED", "SUBMITTED", "RUNNING", ENDED, events=[["start", {}]], outcome={"ended": "done"}))
    handed, events = hand_in(server)
    assert handed.to_the_end().ended == "done"
    assert [kind for kind, _ in events] == ["warning", "start"]
    assert "waits for its turn" in events[0][1]


def test_who_should_be_there_and_is_not_is_named(hand_in):
    server = ServerSession(script("RUNNING", ENDED, outcome={"ended": "done"}))
    handed, events = hand_in(server, without=["site-2"], expected=["site-1", "site-2", "site-3"])
    handed.to_the_end()
    assert [text for _, text in events] == ["site-3 gives no sign of life; the run begins with site-1"]


def test_nobody_there_is_said(hand_in):
    server = ServerSession()
    server.connected = lambda: {}
    with pytest.raises(RunError, match="no site is connected"):
        hand_in(server)[0].to_the_end()
