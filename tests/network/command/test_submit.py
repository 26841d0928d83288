"""A run that is submitted: what Ctrl-C and a server that fails leave for `--resume`, and the names that it is called by."""

import json

import pytest
from scripted_server import STOPPED, ServerSession, script

from fedtailor.errors import RunError, SettingError
from fedtailor.federation.nvflare.line import ServerAway
from fedtailor.network.command.submit import _check_known, _earlier_run, job_name
from fedtailor.network.meeting.meeting import is_folder_name


def test_ctrl_c_stops_the_job_and_leaves_what_resume_needs(hand_in, tmp_path):
    server = ServerSession(script("RUNNING", "RUNNING", KeyboardInterrupt(), events=[["opening", {}], ["start", {}]]))
    with pytest.raises(KeyboardInterrupt):
        hand_in(server)[0].to_the_end()
    assert server.aborted == ["job-1"]
    assert _earlier_run(tmp_path / "run") == "tiny-1"
    assert (tmp_path / "run" / "job.yaml").is_file()


def test_a_job_that_was_stopped_before_it_began_leaves_no_folder_in_the_way_of_the_next(hand_in, tmp_path):
    server = ServerSession(script("RUNNING", KeyboardInterrupt(), events=[["opening", {}]]))
    with pytest.raises(KeyboardInterrupt):
        hand_in(server)[0].to_the_end()
    assert server.aborted == ["job-1"]
    assert not (tmp_path / "run").exists()


def test_ctrl_c_while_a_job_is_submitted_stops_it_too(hand_in):
    server = ServerSession(script("RUNNING"))
    submit, presses = server.submit, [KeyboardInterrupt()]

    def submit_and_press(folder, mark):
        job = submit(folder, mark) if not server.submitted else "job-1"  # the same mark: the same job
        if presses:
            raise presses.pop()
        return job

    server.submit = submit_and_press
    with pytest.raises(KeyboardInterrupt):
        hand_in(server)[0].to_the_end()
    assert server.aborted == ["job-1"]


def test_ctrl_c_while_the_server_is_away_says_that_the_job_may_continue(hand_in):
    server = ServerSession(script("RUNNING", KeyboardInterrupt()))

    def away(job):
        raise ServerAway("no server answers")

    server.abort = away
    handed, events = hand_in(server)
    with pytest.raises(KeyboardInterrupt):
        handed.to_the_end()
    assert "may continue there: no server answers" in events[-1][1]


def test_a_run_that_cannot_be_ended_here_can_be_gone_on_with(hand_in, tmp_path):
    server = ServerSession(*(script("RUNNING", STOPPED, events=[["start", {}]]) for _ in range(9)))
    with pytest.raises(RunError, match="times"):
        hand_in(server)[0].to_the_end()
    assert _earlier_run(tmp_path / "run") == "tiny-1"


def test_what_a_resumed_run_folder_holds_is_left_as_it_is(hand_in, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "network.json").write_text('{"run": "tiny-1", "sites": {}}')
    server = ServerSession(script("RUNNING", "RUNNING", KeyboardInterrupt(), events=[["resume", {}]]))
    with pytest.raises(KeyboardInterrupt):
        hand_in(server)[0].to_the_end()
    assert json.loads((tmp_path / "run" / "network.json").read_text()) == {"run": "tiny-1", "sites": {}}


def test_a_slip_in_the_name_of_a_site_to_leave_out_is_no_permission():
    with pytest.raises(SettingError, match="--without nroth: network hospitals has no such site; its sites are north, south"):
        _check_known(["nroth"], ["north", "south"], "hospitals")
    _check_known(["north"], ["north", "south"], "hospitals")


@pytest.mark.parametrize("name", ["tiny", "_tiny", ".x", "--", "ü-1"])
def test_the_name_of_a_run_is_one_of_a_folder(name):
    assert is_folder_name(job_name(name))
