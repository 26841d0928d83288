"""Two sites and a server: their folders, a job, and a line between them that needs no network."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from jobs import tiny_job, tiny_rows
from safetensors.torch import load_file

from fedtailor.federation.nvflare.line import Places
from fedtailor.federation.nvflare.packing import pack, unpack
from fedtailor.network.command.job_folder import settings_of
from fedtailor.network.kit.policy import Policy
from fedtailor.network.kit.site_file import SiteFile
from fedtailor.network.server import server
from fedtailor.network.site.site import Site

SITES = ("site-1", "site-2")
ALL = Policy(
    protocols=("averaging", "distillation", "split"), reports=("examples", "figures", "public-fit", "labels"), min_examples=1
)
LOCAL = {"learning_rate": 0.02, "batch_size": 4}

PROTOCOLS = {
    "averaging": {"kind": "averaging", "local": LOCAL},
    "distillation": {
        "kind": "distillation",
        "public": "public.jsonl",
        "local": LOCAL,
        "align": {"learning_rate": 0.02},
        "distil": {"learning_rate": 0.02},
    },
    "split": {"kind": "split", "cut": 1, "local": LOCAL},
    "split-pipelined": {"kind": "split", "cut": 1, "labels": "with-server", "pipeline": "weight-stashing", "local": LOCAL},
}


def until(what, seconds=120):
    """Wait until something holds, and return it."""
    end = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < end:
        time.sleep(0.05)
    assert found
    return found


class DirectLine:
    """Calls the sites' halves in this process; what would cross the wire is passed on as it is."""

    def __init__(self, kits):
        self.halves = {name: Site(name, kit) for name, kit in kits.items()}
        self.before = lambda client, ticket: None  # called before each message

    @property
    def sites(self):
        return sorted(self.halves)

    def open(self, client, told, timeout_s):
        return self.halves[client].open(json.loads(json.dumps(told)))

    def answer(self, client, ticket, packed, timeout_s):
        self.before(client, ticket)
        told, reply = self.halves[client].answer(ticket, unpack(packed))
        return told if "failure" in told else {**pack(reply), **told}

    def alive(self, client, timeout_s):
        return True

    def forget(self, client, ticket):
        self.halves[client].forget(ticket)

    def stopped(self):
        return False

    def kill_model(self, client):
        """Kill -9 the process that holds a site's model, after the last look at whether it lives."""
        process = self.halves[client]._keeper._process
        process.kill()
        process.wait()
        process.poll = lambda: None

    def close(self):
        for half in self.halves.values():
            half.stop()


def give_keys(kits) -> None:
    """Give the agents of sites their keys, as the authority of a network vouches for them."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from fedtailor.network.kit.agent_key import AUTHORITY_FILE, CERTIFICATE, make_agent_key, read_private
    from fedtailor.protection.secure.identity import _authority, vouch

    authority, signer = _authority()
    for site, kit in kits.items():
        make_agent_key(kit)
        (kit / AUTHORITY_FILE).parent.mkdir(exist_ok=True)
        (kit / AUTHORITY_FILE).write_bytes(authority.public_bytes(Encoding.PEM))
        certificate = vouch(site, read_private(kit).public_key(), authority, signer)
        (kit / CERTIFICATE).write_bytes(certificate.public_bytes(Encoding.PEM))


def write_site(kit: Path, data: Path, backbone: Path, policy: Policy = ALL, **settings) -> None:
    SiteFile(data=(str(data),), backbones={backbone.name: str(backbone)}, policy=policy, **settings).write(kit)


def write_rows(folder: Path) -> None:
    """Write half of the rows for each site, and public ones."""
    rows = tiny_rows()
    for number, site in enumerate(SITES):
        (folder / f"{site}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[number :: len(SITES)]))
    public = [{"input": f"name[The Inn], near[{place}]", "target": f"The Inn is near {place}."} for place in "abcdefgh"]
    (folder / "public.jsonl").write_text("".join(json.dumps(row) + "\n" for row in public))


def net_job(net, protocol, **sections):
    """Return a job whose clients are the two sites, as it is written for this machine."""
    job = tiny_job(net.backbone, protocol=protocol, **sections)
    data = {"train": [f"{site}.jsonl" for site in SITES]}
    clients = {"partition": "files", "min_examples": 4}
    return type(job).from_dict({**job.to_dict(), "base": str(net.folder), "data": data, "clients": clients})


def at_server(job, line, folder, run="run", **settings):
    """Carry the job out as the server does; return how it ended, the run folder and the events."""
    return submitted({**settings_of(job), "run": run, **settings}, line, folder)


def submitted(settings, line, folder):
    """Do at a server in `folder` what was submitted."""
    places = Places(kit=folder / "server", job=folder / "server" / "job", settings=folder / "server" / "settings")
    for place in (places.job, places.settings):
        place.mkdir(parents=True, exist_ok=True)
    (places.settings / server.SETTINGS).write_text(json.dumps(settings))
    diary = server.Diary()
    server.work(line, places, diary)
    outcome = json.loads((places.job / server.OUTCOME).read_text())
    return SimpleNamespace(
        ended=outcome["ended"],
        text=outcome.get("text", ""),
        folder=places.job / server.RUN,
        events=diary.events,
        sites=outcome.get("sites"),
    )


def same_adapter(one: Path, two: Path) -> bool:
    first, second = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (one, two))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
