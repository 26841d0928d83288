"""A server that is hostile, and the machine that a site shares with others: real processes, mutual TLS on loopback."""

import json
import os
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from nets import write_site

from fedtailor.network.command import processes
from fedtailor.network.command.processes import end_process, engine_process, site_process
from fedtailor.network.command.world import free_port
from fedtailor.network.kit.kits import make_kits
from fedtailor.network.kit.network_file import Network
from fedtailor.network.sandbox import landlock

pytestmark = [
    pytest.mark.slow,
    pytest.mark.attack,
    pytest.mark.xdist_group("network"),
    pytest.mark.skipif(find_spec("nvflare") is None, reason="NVFlare is not installed: pip install 'fedtailor[net]'"),
]


@pytest.fixture
def network(tmp_path, monkeypatch):
    """Return the folder of a network with one site that joined a hostile server, once the server has done all that it can think of."""
    folder, secret, misdeeds = tmp_path / "n", tmp_path / "data.jsonl", tmp_path / "misdeeds.json"
    secret.write_text('{"input": "the-secret", "target": "x"}\n')
    make_kits(Network(name="n", port=free_port(), sites=("north",)), folder)
    write_site(folder / "north", secret, tmp_path / "no-backbone")
    (folder / "north" / "runs" / "kept").mkdir(parents=True)
    monkeypatch.setattr(processes, "LISTENER", "hostile_server")
    monkeypatch.setenv("FEDTAILOR_MISDEEDS", str(misdeeds))
    monkeypatch.setenv("FEDTAILOR_TARGET", str(secret))
    monkeypatch.setenv("FEDTAILOR_SERVER", str(folder / "server"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
    started = {}
    try:
        started["server"] = engine_process(folder / "server")
        started["north"] = site_process(folder / "north")
        until = time.monotonic() + 240
        while not misdeeds.exists() and time.monotonic() < until:
            time.sleep(0.5)
        yield folder, json.loads(misdeeds.read_text()), started
    finally:
        for kit, process in started.items():
            end_process(process, folder / kit)


def family(process):
    """Return a process and all that it has started."""
    one = psutil.Process(process.pid)
    return [one, *one.children(recursive=True)]


def test_a_hostile_server_gets_nothing_and_nothing_listens_but_its_port(network):
    folder, misdeeds, started = network
    kit, log = folder / "north", (folder / "north" / "engine.log").read_text()
    port = json.loads((kit / "network.json").read_text())["port"]
    assert len(misdeeds) > 60
    said = [line.split("fedtailor refused ")[1] for line in log.splitlines() if "fedtailor refused " in line]
    harmless = {("admin", "scheduler.check_resource"), ("admin", "train.abort")}  # is there room; end what does not run
    for channel, topic, answer in misdeeds:
        assert "the-secret" not in answer
        assert "PRIVATE KEY" not in answer
        refused = "refused by this site" in answer or "NVFLARE_ERROR" in answer
        assert refused or (channel, topic) in harmless, (channel, topic, answer)
        assert not refused or any(line.startswith(f"{topic}, which the server asked for") for line in said), (channel, topic)
    lines = "\n".join(said)
    for words in (
        "the app holds 'custom/evil.py'",
        "the app holds 'config/config_fed_server.json'",
        "'../../runs/evil' is no number of a job",
        "nobody of this network has signed the app",
        "'server' has signed the app, and submits no jobs",
        "Client app does not exist",
    ):
        assert words in lines
    assert not list(kit.glob("engine/*-*-*-*-*"))  # no job was deployed
    assert (kit / "runs" / "kept").is_dir()
    assert started["north"].poll() is None
    assert len([one for one in family(started["north"]) if "site_engine" in " ".join(one.cmdline())]) == 1  # no job runs
    assert "the engine ended" not in (kit / "launcher.log").read_text()
    who_listens(started, port)


def who_listens(started, port):
    """Assert what other users of the machine find: the server's port and nothing else; and that the kernel holds each of a site's processes."""
    site, server = family(started["north"]), family(started["server"])
    names = {" ".join(one.cmdline()) for one in site}
    assert sum("fedtailor.network.site.agent" in name for name in names) == 1
    open_tcp = [(one.pid, each) for one in site for each in one.net_connections("inet")]
    assert {each.status for _, each in open_tcp} == {"ESTABLISHED"}
    assert {each.raddr.port for _, each in open_tcp} == {port}
    forwarder = next(one.pid for one in site if "fedtailor.network.site.forwarder" in one.cmdline())
    assert {pid for pid, _ in open_tcp} == {forwarder}  # engine and agent have no socket of a network at all
    listening = [each.laddr for one in server for each in one.net_connections("inet") if each.status == "LISTEN"]
    assert [tuple(each) for each in listening] == [("127.0.0.1", port)]
    assert not [each.laddr for one in (*site, *server) for each in one.net_connections("unix") if each.laddr]
    for one in site[1:] if landlock.abi() >= 6 else ():
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{one.pid}/status").read_text().splitlines())
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), one.cmdline()
        if "fedtailor.network.site.agent" not in one.cmdline():
            assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
