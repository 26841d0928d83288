"""The launcher of a site, with processes that stand in for the others."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from fedtailor.network.command import site_processes
from fedtailor.network.command.site_processes import SiteProcesses
from fedtailor.network.kit.site_file import SiteFile


def test_a_launcher_loads_nothing_that_computes_and_no_engine():
    ask = "import fedtailor.network.command.site_processes, sys; print({'torch', 'nvflare', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """Return a launcher whose processes sleep, with what it says and what it has started."""
    kit, said, started = tmp_path / "a kit", [], []
    (kit / "startup").mkdir(parents=True)
    (kit / "startup" / "client.key").write_text("key")
    (kit / "network.json").write_text('{"network": "n", "server": "localhost", "port": 1, "kit": "north"}')
    SiteFile(data=("/a",)).write(kit)
    real = subprocess.Popen

    def start(command, **settings):
        started.append(SimpleNamespace(command=command, **settings))
        return real([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)

    monkeypatch.setattr(site_processes.subprocess, "Popen", start)
    monkeypatch.setattr(site_processes, "pause_after", lambda deaths, lived: (deaths + 1, 0.0))
    monkeypatch.setenv("FEDTAILOR_ENDPOINT", str(tmp_path / "mine.yaml"))
    (tmp_path / "mine.yaml").write_text("url: http://127.0.0.1:1/v1\nmodel: a\nkey: MY_KEY\n")
    monkeypatch.setenv("MY_KEY", "secret")
    with SiteProcesses(kit, said.append) as site:
        yield SimpleNamespace(site=site, kit=kit, said=said, started=started)


def named(started):
    """Return what was started by the module that it becomes."""
    return {next(word for word in one.command if word.startswith("fedtailor.") and "sandbox" not in word): one for one in started}


def test_each_process_gets_its_own_and_no_more(launched):
    found = named(launched.started)
    agent, engine = found["fedtailor.network.site.agent"], found[site_processes.SITE_ENGINE]
    forwarder = found["fedtailor.network.site.forwarder"]
    assert agent.env["MY_KEY"] == "secret"  # of the endpoint that the owner has named
    for other in (engine, forwarder):
        assert {"MY_KEY", "FEDTAILOR_ENDPOINT"}.isdisjoint(other.env)
    assert len(agent.pass_fds) == len(forwarder.pass_fds) == 1
    assert len(engine.pass_fds) == 2
    assert set(engine.pass_fds).isdisjoint({*agent.pass_fds, *forwarder.pass_fds})
    assert engine.cwd == launched.kit / "engine"
    assert engine.env["HOME"] == str(launched.kit / "engine")
    assert (launched.kit / "engine" / "startup" / "client.key").read_text() == "key"
    assert all("fedtailor.network.sandbox.start" in one.command for one in launched.started)


def test_who_ends_is_started_again_and_links_of_the_engines_lead_nowhere(launched):
    (launched.kit / "engine" / "local").rename(launched.kit / "engine" / "x")
    (launched.kit / "engine" / "local").symlink_to(launched.kit / "local")  # so that the launcher would write there
    before = (launched.kit / "local" / "fedtailor.json").read_text()
    for sibling in list(launched.site._siblings):
        sibling.process.kill()
        sibling.process.wait()
    launched.site.look()
    launched.site.look()
    assert [line.split(" ended")[0] for line in launched.said] == ["the agent", "the forwarder", "the engine"]
    assert len(launched.started) == 6
    assert [path.name for path in (launched.kit / "local").iterdir()] == ["fedtailor.json"]
    assert (launched.kit / "local" / "fedtailor.json").read_text() == before


def test_an_engine_that_uses_too_much_is_ended_and_started_again(launched, monkeypatch):
    monkeypatch.setattr(site_processes, "engine_excess", lambda engine, folder: "has 99 processes; at most 16 are permitted")
    monkeypatch.setattr(site_processes, "LOOK_S", 1000.0)
    engine = launched.site._siblings[-1]
    launched.site._look_at, first = 0.0, engine.process
    launched.site.look()
    assert launched.said == ["the engine has 99 processes; at most 16 are permitted; it is ended"]
    until = time.monotonic() + 10
    while engine.process is first and time.monotonic() < until:
        launched.site.look()
    assert engine.process.poll() is None
