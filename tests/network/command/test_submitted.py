"""A run while it is at the hub: what is done when the engine stops it, a site is lost, or the hub goes away."""

import pytest
from scripted_hub import ENDED, STOPPED, Hub, script

from fedtailor.errors import JobError, RunError
from fedtailor.federation.nvflare.line import HubAway
from fedtailor.network.command import submitted as at_hub


def test_a_job_that_ends_is_handed_in_once_and_every_event_is_told_once(hand_in):
    told = [["start", {}], ["round", {}], ["done", {}]]
    hub = Hub(script("SUBMITTED", "RUNNING", "RUNNING", ENDED, events=told, outcome={"ended": "done"}))
    handed, events = hand_in(hub, without=["site-2"])
    assert handed.to_the_end().ended == "done"
    assert [kind for kind, _ in events] == ["start", "round", "done"]
    assert hub.submitted == [["site-1"]]


def test_a_job_that_the_engine_stopped_is_handed_in_again(hand_in):
    hub = Hub(
        script("RUNNING", STOPPED, events=[["start", {}]]),
        script("RUNNING", ENDED, events=[["resume", {}]], outcome={"ended": "done"}),
    )
    handed, events = hand_in(hub)
    assert handed.to_the_end().ended == "done"
    assert [kind for kind, _ in events] == ["start", "warning", "resume"]
    assert STOPPED in events[1][1]
    assert len(hub.submitted) == 2


def test_it_is_not_handed_in_for_ever(hand_in):
    hub = Hub(*(script("RUNNING", STOPPED, events=[["start", {}]]) for _ in range(9)))
    with pytest.raises(RunError, match=f"{at_hub.SUBMISSIONS} times"):
        hand_in(hub)[0].to_the_end()
    assert len(hub.submitted) == at_hub.SUBMISSIONS


def test_a_job_of_which_nothing_is_heard_is_handed_in_twice(hand_in):
    hub = Hub(*(script("SUBMITTED", STOPPED) for _ in range(9)))
    with pytest.raises(RunError, match=f"did not begin: the engine stopped the job .{STOPPED}"):
        hand_in(hub)[0].to_the_end()
    assert len(hub.submitted) == 2


def test_a_job_that_lost_a_site_while_it_was_opened_is_handed_in_again(hand_in):
    lost = {"ended": "again", "text": "site-2 was lost while the job was opened"}
    hub = Hub(
        script("RUNNING", ENDED, events=[["opening", {}]], outcome=lost), script("RUNNING", ENDED, outcome={"ended": "done"})
    )
    handed, events = hand_in(hub)
    assert handed.to_the_end().ended == "done"
    assert events[1] == ("warning", f"{lost['text']}; it is handed in again and goes on from what is kept")


def test_who_gives_no_sign_of_life_after_a_stop_is_left_out(hand_in):
    hub = Hub(script("RUNNING", STOPPED, events=[["start", {}]]), script("RUNNING", ENDED, outcome={"ended": "done"}))
    hub.silent = {"site-2": 1.0}  # the last one before it died: the hub lists it for ten minutes more
    assert hand_in(hub)[0].to_the_end().ended == "done"
    assert hub.submitted == [["site-1", "site-2"], ["site-1"]]


def test_who_has_been_quiet_for_long_is_not_there(hand_in):
    hub = Hub(script("RUNNING", ENDED, outcome={"ended": "done"}))
    hub.signs, hub.silent = 1000.0, {"site-2": 1000.0 - at_hub.QUIET_S}
    assert hand_in(hub)[0].to_the_end().ended == "done"
    assert hub.submitted == [["site-1"]]


def test_a_hub_that_is_away_when_the_job_is_handed_in_is_waited_for(hand_in):
    hub = Hub(script("RUNNING", ENDED, outcome={"ended": "done"}))
    hub.away = 2
    handed, events = hand_in(hub)
    assert handed.to_the_end().ended == "done"
    assert (hub.back, events) == (2, [("warning", "away; it is waited for")] * 2)
    assert len(hub.marks) == 3
    assert len(set(hub.marks)) == 1  # so that the hub takes it for one job, should it have the first


def test_a_hub_that_is_away_again_and_again_is_not_waited_for_for_ever(hand_in):
    hub = Hub(script("RUNNING", ENDED))
    hub.away = 1000
    with pytest.raises(HubAway):
        hand_in(hub)[0].to_the_end()
    assert hub.back == at_hub.ABSENCES


@pytest.mark.parametrize(("ended", "error"), [("mend", JobError), ("failed", RunError)])
def test_a_refusal_and_a_failure_end_it(hand_in, ended, error):
    hub = Hub(script("RUNNING", ENDED, outcome={"ended": ended, "text": "site-1 refuses: no"}))
    with pytest.raises(error, match="site-1 refuses: no"):
        hand_in(hub)[0].to_the_end()


def test_a_hub_that_comes_back_with_the_job_is_watched_on(hand_in):
    hub = Hub(script("RUNNING", HubAway("away"), "RUNNING", ENDED, events=[["start", {}]], outcome={"ended": "done"}))
    handed, events = hand_in(hub)
    assert handed.to_the_end().ended == "done"
    assert (hub.back, len(hub.submitted), hub.aborted) == (1, 1, [])
    assert events == [("start", ""), ("warning", "away; it is waited for")]


def test_a_job_that_a_hub_lists_but_does_not_run_any_more_is_handed_in_again(hand_in):
    hub = Hub(
        script("RUNNING", HubAway("away"), "RUNNING", events=[["start", {}]]), script("RUNNING", ENDED, outcome={"ended": "done"})
    )
    handed, _ = hand_in(hub)
    hub.come_back = lambda patience_s: setattr(hub, "restarts", 1)
    assert handed.to_the_end().ended == "done"
    assert hub.aborted == ["job-1"]
    assert len(hub.submitted) == 2


def test_a_job_that_waits_for_its_turn_is_told_once(hand_in, monkeypatch):
    monkeypatch.setattr(at_hub, "QUEUE_S", -1.0)
    hub = Hub(script("SUBMITTED", "SUBMITTED", "RUNNING", ENDED, events=[["start", {}]], outcome={"ended": "done"}))
    handed, events = hand_in(hub)
    assert handed.to_the_end().ended == "done"
    assert [kind for kind, _ in events] == ["warning", "start"]
    assert "waits for its turn" in events[0][1]


def test_who_should_be_there_and_is_not_is_named(hand_in):
    hub = Hub(script("RUNNING", ENDED, outcome={"ended": "done"}))
    handed, events = hand_in(hub, without=["site-2"], expected=["site-1", "site-2", "site-3"])
    handed.to_the_end()
    assert [text for _, text in events] == ["site-3 gives no sign of life; the run begins with site-1"]


def test_nobody_there_is_said(hand_in):
    hub = Hub()
    hub.connected = lambda: {}
    with pytest.raises(RunError, match="no site is connected"):
        hand_in(hub)[0].to_the_end()
