"""A network on this machine: what happens to a server that dies."""

import subprocess
import sys
import time

from fedtailor.network.command import world
from fedtailor.network.command.world import World, running
from fedtailor.network.kit.engine_settings import SERVER
from fedtailor.network.kit.network_file import Network


def test_a_server_that_dies_is_started_again_and_its_last_words_are_said(tmp_path, monkeypatch):
    started, said = [], []

    def stand_in(kit):
        (kit / "engine.log").write_text("begins\nno more \x1b[2Jthreads\n\n")
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True))
        return started[-1]

    for name in ("engine_process", "site_process"):
        monkeypatch.setattr(world, name, stand_in)
    monkeypatch.setattr(world, "_wait_for_port", lambda port: None)
    monkeypatch.setattr(world, "wait_until_up", lambda world: None)
    monkeypatch.setattr(world, "LOOK_S", 0.01)
    for kit in (SERVER, "north"):
        (tmp_path / kit).mkdir()
    with running(World(folder=tmp_path, network=Network(name="n", port=1, sites=("north",))), said.append):
        started[0].kill()
        until = time.monotonic() + 60
        while len(started) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert started[2].poll() is None
    assert all(process.poll() is not None for process in started)
    assert said[2] == "the server's engine ended with -9 and is started again; its last words: no more \\x1b[2Jthreads"
