"""A network that loses its processes while jobs run: launcher, agent and engine of sites killed -9, a site stopped, the server started again.

Moments are drawn by a seed. `FEDTAILOR_KILLS=20` kills each kind 20 times between jobs, and
`FEDTAILOR_KILLED_RUNS=1` each once in the rounds of a job, which is not tried otherwise.
"""

import os
import random
import signal
import threading
import time
from contextlib import suppress
from operator import itemgetter
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
from nets import PROTOCOLS, SITES, net_job, same_adapter, until, write_rows

pytest.importorskip("nvflare")

from fedtailor.network.command.processes import LAUNCHER, alone, end_process, site_process
from fedtailor.network.command.submit import run_on
from fedtailor.network.command.world import make_world, running, wait_until_up
from fedtailor.running import run

pytestmark = [pytest.mark.slow, pytest.mark.attack, pytest.mark.xdist_group("network")]
TIMES, RUNS = int(os.environ.get("FEDTAILOR_KILLS", "2")), int(os.environ.get("FEDTAILOR_KILLED_RUNS", "0"))
SEED = int(os.environ.get("FEDTAILOR_KILLS_SEED", "0"))
ROUNDS, SPAN_S = 30, 6.0
KINDS = ("agent", "engine", "launcher")
SIBLINGS = {"agent": "site.agent", "engine": "client_train", "forwarder": "site.forwarder"}


def words(process):
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def parent_of(process):
    with suppress(psutil.Error):
        return process.ppid()
    return None


def alive(process):
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


class Site:
    """A site's launcher, and what it has started."""

    def __init__(self, kit):
        self.kit, self.own, self.gone_s = kit, None, []

    def launcher(self):
        found = [one for one in psutil.process_iter() if LAUNCHER in words(one) and str(self.kit) in words(one) and alive(one)]
        numbers = {one.pid for one in found}
        first = [one for one in found if parent_of(one) not in numbers]  # a process that it is about to start still has its name
        assert len(first) <= 1
        return first[0] if first else None

    def siblings(self):
        """Return agent, engine and forwarder, by name, once each of them is what it should be."""
        launcher = self.launcher()
        found = {}
        for one in launcher.children() if launcher else ():
            line = " ".join(words(one))
            found |= {name: one for name, module in SIBLINGS.items() if module in line and "sandbox.start" not in line}
        return found

    def whole(self):
        found = self.siblings()
        return found if len(found) == len(SIBLINGS) else None

    def family(self):
        launcher = self.launcher()
        return [launcher, *launcher.children(recursive=True)] if launcher else []

    def hurt(self, kind):
        """Kill one of the site's processes, or stop all of it; return once what was there has ended and is there again."""
        before = until(self.whole)
        if kind in before:
            family = [before[kind], *before[kind].children(recursive=True)]
            before[kind].kill()
        else:
            family = self.family()
            family[0].send_signal(signal.SIGTERM if kind == "stop" else signal.SIGKILL)
        begun = time.monotonic()
        while left := [one for one in family if alive(one)]:  # a job's process and a model end with whoever started them
            assert time.monotonic() < begun + 40, [" ".join(words(one))[-150:] for one in left]
            time.sleep(0.05)
        self.gone_s.append(round(time.monotonic() - begun, 1))
        if kind not in before:
            with alone(self.kit):  # the lock went with its holder
                pass
            self.end()
            self.own = site_process(self.kit)
        until(self.whole)

    def end(self):
        if self.own is not None:
            end_process(self.own, self.kit)


def kill_server(kit):
    """Kill the server's engine with all that it has started; whoever keeps it up starts another."""
    found = [
        one
        for one in psutil.process_iter()
        if str(kit) in words(one) and any(word.endswith("server_train") for word in words(one))
    ]
    for one in found:
        with suppress(psutil.NoSuchProcess):
            one.kill()


@pytest.fixture(scope="module")
def network(tmp_path_factory, tiny_backbone_folder):
    """Return a network that runs, and a local run of the same job; at its end nothing of it may be left."""
    folder = tmp_path_factory.mktemp("killed")
    write_rows(folder)
    job = net_job(SimpleNamespace(folder=folder, backbone=tiny_backbone_folder), PROTOCOLS["averaging"], stop__rounds=ROUNDS)
    world, local = make_world(job, folder / "world"), run(job, out=folder / "local")
    sites = {site: Site(world.folder / site) for site in SITES}
    with running(world):
        try:
            yield SimpleNamespace(world=world, job=job, local=local, sites=sites)
        finally:
            for site in sites.values():
                site.end()
    assert not [one for one in psutil.process_iter() if any(str(world.folder) in word for word in words(one)) and alive(one)]
    for kit in (*SITES, "server"):
        with alone(world.folder / kit):
            pass
    assert not [path for path in world.folder.rglob("*") if path.is_socket()]
    assert not [
        one
        for one in psutil.net_connections("inet")
        if one.laddr and one.laddr.port == world.network.port and one.status == "LISTEN"
    ]


def disturbed(network, plan, out):
    """Carry the job out while processes are hurt, one after the other, each so many seconds after the first rounds; return how it ended and what was done."""
    started, over, done, faults = threading.Event(), threading.Event(), [], []

    def hurt_all():
        started.wait()
        began = time.monotonic()
        try:
            for kind, site, at in sorted(plan, key=itemgetter(2)):
                if not over.wait(max(0.0, began + at - time.monotonic())):
                    kill_server(network.world.folder / "server") if kind == "server" else network.sites[site].hurt(kind)
                    done.append(kind)
        except BaseException as fault:
            faults.append(fault)

    def watch(kind, facts):
        if kind == "round":
            started.set()

    thread = threading.Thread(target=hurt_all)
    thread.start()
    try:
        result = run_on(network.job, network.world.folder, out=out, watcher=watch)
    finally:
        over.set()
        started.set()
        thread.join()
    assert not faults
    return result, done


def whole_again(network):
    """Wait until each site has its processes and nothing of a job, and the server hears of all."""
    for site in network.sites.values():
        until(lambda: site.whole() and len(site.family()) == 1 + len(SIBLINGS), 90)  # noqa: B023
    wait_until_up(network.world)


def test_who_is_killed_between_jobs_is_started_again_and_nothing_is_orphaned(network):
    draw, began = random.Random(SEED), time.monotonic()
    for _ in range(TIMES):
        for kind in draw.sample(KINDS, len(KINDS)):
            time.sleep(draw.uniform(0.0, 3.0))
            network.sites[draw.choice(SITES)].hurt(kind)
    whole_again(network)
    gone = sorted(seconds for site in network.sites.values() for seconds in site.gone_s)
    print(f"{TIMES} each in {time.monotonic() - began:.0f} s; gone after {gone} s; server there", flush=True)


@pytest.mark.skipif(not RUNS, reason="a job with its kills takes minutes: FEDTAILOR_KILLED_RUNS=1 runs it")
@pytest.mark.parametrize("kinds", [KINDS, ("server", "stop")], ids="-".join)
def test_a_job_whose_processes_are_killed_ends_well(network, kinds, tmp_path):
    draw, left, runs = random.Random(SEED + 1), dict.fromkeys(kinds, RUNS), 0
    while any(left.values()) and runs < 2 * RUNS + 1:
        runs, began = runs + 1, time.monotonic()
        site = draw.choice(SITES)  # one of them stays: a run that loses all its sites ends, and is resumed by hand
        plan = [(kind, site, round(draw.uniform(0.0, SPAN_S), 1)) for kind in kinds if left[kind]]
        result, done = disturbed(network, plan, tmp_path / f"run-{runs}")
        clients = pd.read_parquet(result.folder / "clients.parquet")
        missing = clients.loc[clients["error"].notna(), ["client", "round"]].values.tolist() if "error" in clients else []
        print(f"{plan}: {done} in {time.monotonic() - began:.0f} s; {len(missing)} updates missing", flush=True)
        assert clients["round"].max() == ROUNDS
        assert {client for client, _ in missing} <= {site for kind, site, _ in plan if kind in done}
        if not missing:
            assert same_adapter(network.local.folder, result.folder)
        left = {kind: times - done.count(kind) for kind, times in left.items()}
        whole_again(network)
    assert not any(left.values())
