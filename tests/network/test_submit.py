"""A run while it is at the hub: what is done when the engine stops it, the hub goes away, or somebody presses Ctrl-C."""

import json

import pytest

from fedtailor.errors import JobError, RunError, SettingError
from fedtailor.federation.nvflare.line import HubAway
from fedtailor.network import handed as at_hub
from fedtailor.network.meeting import is_folder_name
from fedtailor.network.submit import _check_known, _earlier_run, job_name

ENDED, STOPPED = "FINISHED:COMPLETED", "FINISHED:EXECUTION_EXCEPTION"


class Hub:
    """Plays a script for each submission: statuses, or what is raised when it is asked; then what the job leaves."""

    def __init__(self, *scripts):
        self.scripts, self.now, self.submitted, self.aborted, self.back, self.restarts = list(scripts), None, [], [], 0, 0
        self.signs, self.silent, self.away, self.marks = 0.0, {}, 0, []

    def connected(self):
        self.signs += 1.0
        return {"site-1": self.signs, "site-2": self.signs, **self.silent}

    def started(self):
        return f"start {self.restarts}"

    def submit(self, folder, mark):
        self.marks.append(mark)
        if self.away:
            self.away -= 1
            raise HubAway("away")
        self.submitted.append(json.loads((folder / "meta.json").read_text())["mandatory_clients"])
        self.now = self.scripts.pop(0)
        return f"job-{len(self.submitted)}"

    def status(self, job):
        status = self.now["statuses"][0] if len(self.now["statuses"]) == 1 else self.now["statuses"].pop(0)
        if isinstance(status, BaseException):
            raise status
        return status

    def ask(self, job, data):
        if not self.now.get("answers", True):
            return None
        return {"events": self.now.get("events", [])[data["after"] :]}

    def abort(self, job):
        self.aborted.append(job)

    def come_back(self, patience_s):
        self.back += 1

    def fetch(self, job, folder):
        if self.now.get("outcome"):
            (folder / "workspace" / "run").mkdir(parents=True)
            told = {"ended": "done", "events": self.now.get("events", []), **self.now["outcome"]}
            (folder / "workspace" / "outcome.json").write_text(json.dumps(told))
        return folder


def script(*statuses, **rest):
    return {"statuses": list(statuses), **rest}


@pytest.fixture
def hand_in(tmp_path, monkeypatch, make_job):
    """Return a way to play a script; events are returned beside the outcome."""
    for name in ("POLL_S", "STATUS_S", "SITES_S"):
        monkeypatch.setattr(at_hub, name, 0.0)

    def play(hub, without=(), expected=()):
        events = []
        settings = {"run": "tiny-1", "job": json.loads(json.dumps(make_job().to_dict(), default=str))}
        watch = lambda kind, facts: events.append((kind, facts.get("text", "")))  # noqa: E731
        handed = at_hub.Handed(
            hub, settings, place=tmp_path / "place", without=without, watcher=watch, path=tmp_path / "run", expected=expected
        )
        return handed, events

    return play


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


def test_ctrl_c_stops_the_job_and_leaves_what_resume_needs(hand_in, tmp_path):
    hub = Hub(script("RUNNING", "RUNNING", KeyboardInterrupt(), events=[["opening", {}], ["start", {}]]))
    with pytest.raises(KeyboardInterrupt):
        hand_in(hub)[0].to_the_end()
    assert hub.aborted == ["job-1"]
    assert _earlier_run(tmp_path / "run") == "tiny-1"
    assert (tmp_path / "run" / "job.yaml").is_file()


def test_a_job_that_was_stopped_before_it_began_leaves_no_folder_in_the_way_of_the_next(hand_in, tmp_path):
    hub = Hub(script("RUNNING", KeyboardInterrupt(), events=[["opening", {}]]))
    with pytest.raises(KeyboardInterrupt):
        hand_in(hub)[0].to_the_end()
    assert hub.aborted == ["job-1"]
    assert not (tmp_path / "run").exists()


def test_ctrl_c_while_a_job_is_handed_in_stops_it_too(hand_in):
    hub = Hub(script("RUNNING"))
    submit, presses = hub.submit, [KeyboardInterrupt()]

    def submit_and_press(folder, mark):
        job = submit(folder, mark) if not hub.submitted else "job-1"  # the same mark: the same job
        if presses:
            raise presses.pop()
        return job

    hub.submit = submit_and_press
    with pytest.raises(KeyboardInterrupt):
        hand_in(hub)[0].to_the_end()
    assert hub.aborted == ["job-1"]


def test_ctrl_c_while_the_hub_is_away_says_that_the_job_may_go_on(hand_in):
    hub = Hub(script("RUNNING", KeyboardInterrupt()))

    def away(job):
        raise HubAway("no hub answers")

    hub.abort = away
    handed, events = hand_in(hub)
    with pytest.raises(KeyboardInterrupt):
        handed.to_the_end()
    assert "may go on there: no hub answers" in events[-1][1]


def test_a_run_that_cannot_be_ended_here_can_be_gone_on_with(hand_in, tmp_path):
    hub = Hub(*(script("RUNNING", STOPPED, events=[["start", {}]]) for _ in range(9)))
    with pytest.raises(RunError, match="times"):
        hand_in(hub)[0].to_the_end()
    assert _earlier_run(tmp_path / "run") == "tiny-1"


def test_what_a_resumed_run_folder_holds_is_left_as_it_is(hand_in, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "network.json").write_text('{"run": "tiny-1", "sites": {}}')
    hub = Hub(script("RUNNING", "RUNNING", KeyboardInterrupt(), events=[["resume", {}]]))
    with pytest.raises(KeyboardInterrupt):
        hand_in(hub)[0].to_the_end()
    assert json.loads((tmp_path / "run" / "network.json").read_text()) == {"run": "tiny-1", "sites": {}}


def test_who_should_be_there_and_is_not_is_named(hand_in):
    hub = Hub(script("RUNNING", ENDED, outcome={"ended": "done"}))
    handed, events = hand_in(hub, without=["site-2"], expected=["site-1", "site-2", "site-3"])
    handed.to_the_end()
    assert [text for _, text in events] == ["site-3 gives no sign of life; the run begins with site-1"]


def test_a_slip_in_the_name_of_a_site_to_leave_out_is_no_permission():
    with pytest.raises(SettingError, match="--without nroth: network hospitals has no such site; its sites are north, south"):
        _check_known(["nroth"], ["north", "south"], "hospitals")
    _check_known(["north"], ["north", "south"], "hospitals")


@pytest.mark.parametrize("name", ["tiny", "_tiny", ".x", "--", "ü-1"])
def test_the_name_of_a_run_is_one_of_a_folder(name):
    assert is_folder_name(job_name(name))


def test_nobody_there_is_said(hand_in):
    hub = Hub()
    hub.connected = lambda: {}
    with pytest.raises(RunError, match="no site is connected"):
        hand_in(hub)[0].to_the_end()
