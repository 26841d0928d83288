"""The processes of a kit: no second command, and nothing that a dead one has left."""

import subprocess
import sys

import pytest

from fedtailor.errors import RunError
from fedtailor.network import processes


def stand_in(*words):
    """Start a process with the words of an engine's command."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *words])


def test_what_a_dead_command_has_left_of_this_kit_is_ended_and_nothing_else(tmp_path):
    modules = ("client.client_train", "client.worker_process", "server.server_train", "server.runner_process")
    left = [stand_in(f"{processes.ENGINE}{module}", "-m", str(tmp_path / "north")) for module in modules]
    others = [
        stand_in(f"{processes.ENGINE}client.client_train", "-m", str(tmp_path / "south")),
        stand_in(str(tmp_path / "north")),
    ]
    try:
        processes.end_leftovers(tmp_path / "north")
        assert [process.wait(10) for process in left] == [-9] * len(left)
        assert [process.poll() for process in others] == [None, None]
    finally:
        for process in (*left, *others):
            process.kill()
            process.wait()


def test_a_kit_is_served_once_at_a_time(tmp_path, monkeypatch):
    served = []

    def serve_again(kit, role, say, watch):
        served.append(kit)
        with pytest.raises(RunError, match="is in use: a fedtailor net serve or site join runs with it"):
            processes.serve(kit, role, say)

    monkeypatch.setattr(processes, "_serve", serve_again)
    processes.serve(tmp_path, "site", print)
    processes.serve(tmp_path, "site", print)  # the lock ended with the first
    assert served == [tmp_path, tmp_path]
