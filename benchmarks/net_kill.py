"""Kill -9 of each kind of process of a network at random moments: does the run end well, how soon is it noticed, what is lost?

A server and two sites run by the commands that people type, with mutual TLS on loopback. A job of 6 rounds on a tiny model (averaging with
personal weights, or another protocol) is submitted again and again; at a moment drawn over the whole of it (also while it is submitted and
opened), something is killed: a site's training child, its job process, the whole site (started again 5 s later, as a machine would),
the server's job process, or the server's main process. A run ended well if its adapter has the bits of an undisturbed run; if a client's update is missing
from a round, those of a local run in which that client fails in that round. Anything else is told, and the exit code is 1.

Usage: net_kill.py [--times 5] [--seed 0] [--kinds child site-job site server-job server] [--protocol averaging]. About 1 minute a kill.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from netting import PROTOCOLS, SITES, Net, adapter, network, same_files, tiny_job
from timing import write

from fedtailor import Job
from fedtailor.assembly import assemble
from fedtailor.errors import FedtailorError
from fedtailor.interfaces import Federation
from fedtailor.network.command.submit import run_on
from fedtailor.network.command.world import wait_until_up
from fedtailor.network.kit.engine_settings import SERVER
from fedtailor.records import ClientFailure, ClientId, Message, Reply, Traffic
from fedtailor.running import carry_out
from fedtailor.running.engine import local_federation

KINDS = ("child", "agent", "site-job", "engine", "forwarder", "site", "server-job", "server")
MODULES = {
    "child": "site.model_process",
    "agent": "site.agent",
    "site-job": "worker_process",
    "engine": "client_train",
    "forwarder": "site.forwarder",
    "server-job": "runner_process",
    "server": "server_train",
}
OVER = "over before it was killed"
REBOOT_S = 5.0  # until a killed site is started again
SIGNS = {
    "child": ("failure",),
    "agent": ("failure",),
    "forwarder": ("failure", "warning"),
    "site": ("failure", "warning"),
}  # events that tell that a kill was noticed; else a warning
Lost = frozenset[tuple[ClientId, int]]  # whose update is missing from which round


def main() -> None:
    """Kill, compare, and write a row for each kill."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--protocol", choices=PROTOCOLS, default="averaging")
    parser.add_argument("--usual", type=float, help="seconds of an undisturbed run, where they are known: it is not run then")
    parser.add_argument("--folder", type=Path, help="absent or empty; kept, to look at what failed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="net-kill-") as place:
        rows = kill_all(args, (args.folder or Path(place)).resolve())
    write(f"net_kill-{args.protocol}", {"seed": args.seed, "rows": rows})
    sys.exit(any(not row["well"] for row in rows))


def kill_all(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Return a row for each kill."""
    folder.mkdir(parents=True, exist_ok=True)
    job, draw, rows = tiny_job(folder, args.protocol), random.Random(args.seed), []
    wanted = Wanted(job, folder / "local")
    with network(job, folder / "net") as net:
        usual = args.usual or undisturbed(net, job, folder / "undisturbed", wanted)
        for number, kind in enumerate(kind for _ in range(args.times) for kind in args.kinds):
            row: dict[str, Any] = {}
            while row.get("result") in {None, OVER}:  # a moment after the end: drawn again, over a run as short as that one
                kill = Kill(net, kind, site=draw.choice(SITES), moment_s=draw.uniform(0.0, 1.0) * usual)
                out = folder / f"killed-{number}-{kill.moment_s:.1f}"
                row = {"kind": kind, "of_s": round(usual, 1), **kill.during(job, out, wanted)}
                usual = min(usual, row["seconds"])
                wait_until_up(net.world)
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def undisturbed(net: Net, job: Job, out: Path, wanted: "Wanted") -> float:
    """Return the seconds of a run in which nothing is killed."""
    began = time.monotonic()
    run_on(job, net.world.folder, out=out)
    usual = time.monotonic() - began
    if not same_files(wanted(frozenset()), adapter(out)):
        raise SystemExit("the undisturbed run has other bits than the local one")
    print(f"undisturbed: {usual:.1f} s, same bits as a local run", flush=True)
    return usual


@dataclass
class Kill:
    """One kill, in one run."""

    net: Net
    kind: str
    site: ClientId
    moment_s: float  # after the job is submitted; a process that is not there yet is waited for
    events: list[tuple[float, str, Mapping[str, Any]]] = field(default_factory=list)
    at: float | None = None  # when it was killed
    over: threading.Event = field(default_factory=threading.Event)

    def during(self, job: Job, out: Path, wanted: "Wanted") -> dict[str, Any]:
        """Hand the job in, kill, and return how the run ended."""
        killer = threading.Thread(target=self._kill, args=(time.monotonic() + self.moment_s,), daemon=True)
        killer.start()
        began, fault = time.monotonic(), ""
        try:
            run_on(job, self.net.world.folder, out=out, watcher=lambda *event: self.events.append((time.monotonic(), *event)))
        except FedtailorError as error:
            fault = f"{type(error).__name__}: {error}"
        ended = time.monotonic()
        self.over.set()
        killer.join()
        told = {"site": self.site, "seconds": round(ended - began, 1), **self._noticed(began)}
        if fault or self.at is None:
            return {**told, "well": not fault, "result": fault or OVER}
        lost = missing(out)
        same = same_files(wanted(lost), adapter(out))
        return {**told, **lost_work(out), "missing": sorted(lost), "well": same, "result": "same bits" if same else "OTHER BITS"}

    def _kill(self, due: float) -> None:
        name = SERVER if self.kind.startswith("server") else self.site
        self.over.wait(max(0.0, due - time.monotonic()))
        while not self.over.is_set():
            if self.kind == "site":
                self.at = time.monotonic()
                self.net.kill(name)
                time.sleep(REBOOT_S)  # a run does not end before its site is back: the next one needs it
                self.net.start(name)
                return
            for process in self.net.processes(name, MODULES[self.kind])[:1]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
                    self.at = time.monotonic()
                    return
            time.sleep(0.02)

    def _noticed(self, began: float) -> dict[str, Any]:
        """Return when it was killed, what was under way, and after how many seconds whoever watches was told."""
        if self.at is None:
            return {}
        before = [kind for moment, kind, _ in self.events if moment <= self.at]
        signs = SIGNS.get(self.kind, ("warning",))
        told = next((moment for moment, kind, _ in self.events if moment > self.at and kind in signs), None)
        return {
            "killed_s": round(self.at - began, 1),
            "after": next((kind for kind in reversed(before) if kind != "evaluating"), "submitted"),
            "rounds_before": before.count("round"),
            "noticed_s": None if told is None else round(told - self.at, 1),
        }


class Wanted:
    """Local runs in which chosen updates are missing; each is carried out once."""

    def __init__(self, job: Job, folder: Path) -> None:
        """Take the job, and where the runs go."""
        self._job, self._folder = job, folder
        self._found: dict[Lost, dict[str, Any]] = {}

    def __call__(self, lost: Lost) -> dict[str, Any]:
        """Return the adapter of the run that lacks these updates."""
        if lost not in self._found:
            path = self._folder / f"{len(self._found)}"
            parts = assemble(self._job, clients_folder=path / "clients")
            carry_out(parts, path, connect=lambda *given: Failing(local_federation(*given), lost))
            self._found[lost] = adapter(path)
        return self._found[lost]


class Failing:
    """A local engine in which chosen clients fail to train in chosen rounds."""

    def __init__(self, inner: Federation, lost: Lost) -> None:
        """Take the engine, and who fails when."""
        self._inner, self._lost = inner, lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def ask(self, requests: Mapping[ClientId, Message], timeout_s: float | None = None) -> Iterator[Reply]:
        """Ask those who do not fail."""
        fails = {client for client, message in requests.items() if (client, _round(message)) in self._lost}
        yield from self._inner.ask({client: message for client, message in requests.items() if client not in fails}, timeout_s)
        for client in fails:
            yield Reply(client=client, message=None, error=ClientFailure(kind="lost", mark="Killed"), traffic=Traffic())


def _round(message: Message) -> int:
    return int(message.facts["version"]) + 1 if message.kind == "train" else 0  # type: ignore[arg-type]


def missing(run: Path) -> Lost:
    """Return whose update is missing from which round of a run."""
    table = pd.read_parquet(run / "clients.parquet")
    failed = table[table["error"].notna()] if "error" in table else table[:0]
    return frozenset((str(row.client), int(row.round)) for row in failed.itertuples())


def lost_work(run: Path) -> dict[str, Any]:
    """Return how often the run went on after a stop, and how many whole rounds were then trained again."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    again, last = [], 0
    for event in events:
        if event["event"] in {"start", "resume"}:
            again += [last - event["from_round"]] if last else []
        last = event["round"] if event["event"] == "round" else last
    return {"resumed": len([event for event in events if event["event"] == "resume"]), "whole_rounds_again": max([0, *again])}


if __name__ == "__main__":
    main()
