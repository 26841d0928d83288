"""The whole of it: a hub and two sites in processes of their own, mutual TLS on loopback, jobs handed in with the administrator's kit."""

import json
from importlib.util import find_spec

import psutil
import pytest
from nets import PROTOCOLS, SITES, net_job, same_adapter

from fedtailor.errors import JobError
from fedtailor.network.submit import last_told, run_on
from fedtailor.network.world import make_world, running
from fedtailor.running import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("nvflare") is None, reason="NVFlare is not installed: pip install 'fedtailor[net]'"),
]


def job_process(kit):
    """Return the engine's process of the job that a kit has under way."""
    return next(
        process
        for process in psutil.process_iter(["cmdline"])
        if str(kit) in (line := " ".join(process.info["cmdline"] or [])) and "worker_process" in line
    )


def test_jobs_on_a_network(net):
    """One network for all: starting it takes longer than a job."""
    averaging = net_job(net, PROTOCOLS["averaging"], stop__rounds=3, personalization={"kind": "ditto"})
    place = make_world(averaging, net.folder / "world")
    killed, seen = [], []

    def kill_after_a_round(kind, facts):
        seen.append(kind)
        if kind == "round" and not killed:
            process = job_process(place.folder / "site-2")
            killed.append(process.pid)
            process.kill()

    with running(place):
        for name, protocol in PROTOCOLS.items():
            job = net_job(net, protocol, stop__rounds=1)
            local = run(job, out=net.folder / f"local-{name}")
            events = []
            done = run_on(job, place.folder, out=net.folder / f"net-{name}", watcher=lambda kind, facts: events.append(kind))  # noqa: B023
            assert same_adapter(local.folder, done.folder), name
            assert done.summary["metrics"] == local.summary["metrics"]
            assert {"opening", "start", "round", "done"} <= set(events)
            assert (done.folder / "events.jsonl").is_file()
        assert set(last_told(place.folder / "admin")) == set(SITES)
        local = run(averaging, out=net.folder / "local")
        done = run_on(averaging, place.folder, out=net.folder / "killed", watcher=kill_after_a_round)
        assert killed
        assert "resume" in seen
        assert same_adapter(local.folder, done.folder)
        site_file = place.folder / "site-1" / "local" / "fedtailor.json"
        told = json.loads(site_file.read_text())
        site_file.write_text(json.dumps({**told, "policy": {**told["policy"], "protocols": ["split"]}}))
        with pytest.raises(JobError, match="site-1 refuses: protocol averaging is not permitted here; permitted: split"):
            run_on(averaging, place.folder, out=net.folder / "refused")
    hub = " ".join(
        path.read_text(errors="replace") for path in (place.folder / "hub").rglob("*") if path.suffix in {".log", ".txt", ".json"}
    )
    assert "serves" not in hub  # a word of every example
    assert str(place.folder / "site-1") not in hub
