"""Both ends of the jobs of net_exchange and net_soak: messages as the engine carries them, to a site that computes nothing.

NVFlare makes the server's class in its own process, by its name; this folder is on its path, and the kits of these benchmarks allow it. At the site
`python -m exchange_parts KIT NAME SOCKET` is an agent that computes nothing; engine and forwarder are those of every site.
"""

import json
import os
import socket
import statistics
import sys
import threading
import time
from typing import Any

import psutil
import torch

from fedtailor.federation.nvflare.engine import NetFederation
from fedtailor.federation.nvflare.flare import CollabLine, ServerPart
from fedtailor.federation.nvflare.line import Places, Plain
from fedtailor.messages import FactSpec, Manifest, MessageSpec, TensorSpec
from fedtailor.network.site.agent import Agent
from fedtailor.protection import Encoded, Gate
from fedtailor.records import ClientInfo, Message

STEP, LARGE = 65_000, 2_500_000  # float32 numbers: 0.26 MB, and a tenth of 100 MB
NOTHING = MessageSpec(facts={name: FactSpec(type="int", purpose="a figure", optional=True) for name in ("rss", "threads")})


def spec(count: int, size: int) -> MessageSpec:
    """Return the form of a message of `count` tensors."""
    return MessageSpec(tensors={f"w{n}": TensorSpec(dtype="float32", shape=(size,)) for n in range(count)})


FORMS = {
    "empty": (NOTHING, NOTHING),
    "step": (spec(1, STEP), spec(1, STEP)),
    "down": (spec(10, LARGE), NOTHING),
    "up": (NOTHING, spec(10, LARGE)),
}
GATE = Gate(
    manifest=Manifest(down={kind: form[0] for kind, form in FORMS.items()}, up={kind: form[1] for kind, form in FORMS.items()})
)


def message(kind: str, form: MessageSpec) -> Message:
    """Return a message of a form."""
    return Message(kind=kind, tensors={name: torch.rand(tensor.shape) for name, tensor in form.tensors.items()})


def figures() -> dict[str, int]:
    """Return what this process takes."""
    return {"rss": psutil.Process().memory_info().rss, "threads": threading.active_count()}


class EchoServer(ServerPart):
    """Exchanges messages and notes how long each takes."""

    def work(self, line: CollabLine, places: Places) -> None:
        """Do what the settings say, and leave what was found as the job's result."""
        settings = json.loads((places.settings / "job.json").read_text())
        for site in line.sites:
            line.open(site, {"run": "exchange", "ask": False}, 60.0)  # an agent answers nobody else
        federation = NetFederation(line, [ClientInfo(id=site, examples=1) for site in line.sites], GATE)
        found = soak(federation, settings["minutes"]) if "minutes" in settings else exchange(federation, settings["times"])
        federation.close()
        (places.job / "found.json").write_text(json.dumps(found))


def exchange(federation: NetFederation, times: int) -> dict[str, Any]:
    """Return seconds of exchanges of each kind."""
    found = {}
    for kind, (down, _) in FORMS.items():
        sent = message(kind, down)
        count = times if kind in {"empty", "step"} else max(3, times // 10)
        seconds = [one(federation, sent)[0] for _ in range(count + 3)][3:]  # the first ones warm up
        found[kind] = {"median_s": statistics.median(seconds), "most_s": max(seconds), "times": count}
    for kind in ("down", "up"):
        found[kind]["megabytes_per_s"] = 40 * LARGE / 1e6 / found[kind]["median_s"]
    return found


def soak(federation: NetFederation, minutes: float) -> dict[str, Any]:
    """Exchange small messages for so long; return what both ends take, at 60 moments."""
    until, rows, count = time.monotonic() + 60 * minutes, [], 0
    due = time.monotonic()
    while time.monotonic() < until:
        _, told = one(federation, message("step" if count % 2 else "empty", FORMS["step" if count % 2 else "empty"][0]))
        count += 1
        if time.monotonic() >= due and count % 2:
            rows.append({"exchanges": count, "server": figures(), "site": dict(told.facts)})
            due += minutes
    return {"exchanges": count, "minutes": minutes, "rows": rows}


def one(federation: NetFederation, sent: Message) -> tuple[float, Message]:
    """Return the seconds of one exchange with one site, and its answer."""
    began = time.perf_counter()
    (reply,) = federation.ask({federation.clients[0].id: sent})
    if reply.message is None:
        raise RuntimeError(f"no answer: {reply.error}")
    return time.perf_counter() - began, reply.message


class EchoSite:
    """Answers each message with one of the kind's own form."""

    def open(self, told: Plain, *, again: bool = False) -> Plain:
        """Take part in any job."""
        return {"info": {}}

    def answer(self, ticket: str, data: Encoded) -> tuple[Plain, Encoded]:
        """Answer with tensors of the same sizes each time."""
        asked = GATE.enter_client(data)
        facts = figures() if asked.kind == "empty" else {}
        made = message(asked.kind, FORMS[asked.kind][1])
        return {"seconds": 0.0}, GATE.leave_client(Message(kind=made.kind, tensors=made.tensors, facts=facts))

    def forget(self, ticket: str) -> None:
        """There is nothing to stop."""

    def stop(self) -> None:
        """There is nothing to end."""


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    Agent(EchoSite(), socket.socket(fileno=int(sys.argv[3])), print).work()
