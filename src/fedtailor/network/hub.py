"""The hub's end of a job: opens it at the sites, then carries it out as a local run is."""

import json
import shutil
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from ..assemble import Parts, assemble
from ..data import Divided
from ..errors import FedtailorError, JobError, RunError
from ..federation.nvflare.engine import NetFederation, Stopped, beside
from ..federation.nvflare.line import Line, Patience, Places, Told, gives_sign
from ..interfaces import Federation
from ..job import Job
from ..protection import Gate
from ..protocols.sampling import clients_per_round
from ..records import ClientId, ClientInfo
from ..running import RunFolder, carry_out
from ..running.engine import ranked
from ..running.folder import finite
from .meeting import job_to_send, plain_examples, to_examples
from .versions import version_warnings, versions

OPEN_S = 1800.0  # that a site may take to load its data and backbone
OPEN_MISSES = 10  # signs of life that may be missing meanwhile: all of a machine may be busy then
AGAIN = "again"  # how a job ends that is to be handed in again
SETTINGS = "job.json"  # comes with the job
OUTCOME, RUN = "outcome.json", "run"  # what a job leaves
HUB_FILE = "hub.json"  # in the hub's kit, local/: names of backbones and where they lie


class HubLine(Line, Protocol):
    """The line to the sites of a job, as the hub uses it."""

    @property
    def sites(self) -> list[ClientId]: ...

    def open(self, client: ClientId, told: Told, timeout_s: float) -> Told:
        """Return what a site says to a job before it begins."""


def work(line: HubLine, places: Places, diary: "Diary") -> None:
    """Carry a job out; leave the run folder and how it ended as the job's result."""
    settings = json.loads((places.settings / SETTINGS).read_text(encoding="utf-8"))
    folder = places.kit / "runs" / settings["run"]
    outcome: dict[str, Any] = {"ended": "done"}
    try:
        carry_out_at_hub(settings, folder, line, diary, backbones=_backbones(places.kit))
    except Stopped:
        raise
    except SiteLost as fault:
        outcome = {"ended": AGAIN, "text": str(fault)}
    except FedtailorError as fault:
        outcome = {"ended": "mend" if isinstance(fault, JobError) else "failed", "text": str(fault)}
    except Exception as fault:
        outcome = {"ended": "failed", "text": f"the hub met a fault that nobody foresaw: {type(fault).__name__}: {fault}"}
    if folder.is_dir():
        shutil.copytree(folder, places.job / RUN, dirs_exist_ok=True)
    (places.job / OUTCOME).write_text(json.dumps({**outcome, "events": diary.events}), encoding="utf-8")


class Diary:
    """What happened in a job, for those who watch it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self._lock = threading.Lock()

    def __call__(self, kind: str, facts: Mapping[str, object]) -> None:
        """Note one event; the summary is in the run folder."""
        told = finite({name: value for name, value in facts.items() if name != "summary"})
        with self._lock:
            self.events.append((kind, json.loads(json.dumps(told, default=str))))

    def answer(self, data: Any) -> Told:
        """Return the events after the first `data["after"]`."""
        after = int((data or {}).get("after", 0))
        with self._lock:
            return {"events": self.events[after:]}


def carry_out_at_hub(
    settings: Mapping[str, Any], folder: Path, line: HubLine, diary: Diary, *, backbones: Mapping[str, str]
) -> None:
    """Assemble the hub's parts, open the job at all sites, and carry it out in the run folder, from its last round if it has one.

    Raises:
        JobError: if the job is not usable, or a site does not take part; nothing was trained then.
        RunError: if the run cannot go on; its state is kept.
    """
    job = Job.from_dict(settings["job"])
    job = job.replace("backbone", backbones.get(job.backbone, job.backbone))
    warnings: list[str] = []
    parts = assemble(job, divided=_divided(line.sites, settings), begun=_begun(folder), warn=warnings.append)
    diary("opening", {"sites": line.sites})
    patience = Patience(**settings.get("patience", {}))
    infos = open_at_sites(line, opening(settings, line.sites, parts, version=_version(folder)), patience)
    clients = [ClientInfo(id=site, examples=info["examples"]) for site, info in sorted(infos.items())]
    per_round = clients_per_round(len(clients), fraction=job.clients.fraction, per_round=job.clients.per_round)
    parts = replace(
        parts,
        sampler=replace(parts.sampler, clients=clients, per_round=per_round),
        told_measured=[site for site, info in sorted(infos.items()) if info["measures"]],
    )
    for site, info in sorted(infos.items()):
        warnings += version_warnings(site, info["versions"], versions())
    engines: list[NetFederation] = []

    def connect(parts: Parts, folder: RunFolder, notify: Any) -> Federation:
        engines.append(NetFederation(line, parts.sampler.clients, Gate(manifest=parts.manifest), patience))
        folder.write_json("network.json", {"run": settings["run"], "sites": infos})
        return ranked(engines[0], parts)

    try:
        carry_out(parts, folder, watcher=diary, warnings=warnings, connect=connect)
    finally:
        for engine in engines:
            engine.close()


def opening(settings: Mapping[str, Any], sites: list[ClientId], parts: Parts, *, version: int) -> Told:
    """Return what the hub tells each site of a job.

    Args:
        version: rounds behind the run: what a site kept after them is let go.
    """
    return {
        "run": settings["run"],
        "version": version,
        "sites": sites,
        "job": job_to_send(parts.job),
        "public": plain_examples(parts.public),
        "test": settings["test"],
        "validation_file": bool(settings["validation"]),
        "hub": {"versions": versions(), "backbone": dict(parts.backbone.hashes)},
    }


def open_at_sites(line: HubLine, told: Told, patience: Patience) -> dict[ClientId, dict[str, Any]]:
    """Return what each site tells of itself, once all permit the job and have loaded what it needs.

    Raises:
        JobError: if a site refuses; it names each with its reason.
        RunError: if a site cannot take part.
        SiteLost: if a site is gone before it could say so.
    """
    _ask_all(line, {**told, "ask": True}, patience)
    return _ask_all(line, {**told, "ask": False}, patience)


def _ask_all(line: HubLine, told: Told, patience: Patience) -> dict[ClientId, dict[str, Any]]:
    answers = _answers(line, told, patience)
    refused = [f"{site} refuses: {answer['refused']}" for site, answer in answers.items() if "refused" in answer]
    if refused:
        raise SiteRefused(f"{'; '.join(refused)}. Nothing was trained; mend it, or leave the site out with --without SITE")
    lost = [site for site, answer in answers.items() if answer.get("failure", [""])[0] == "lost"]
    if lost:
        raise SiteLost(f"{', '.join(lost)} was lost while the job was opened")
    failed = [f"{site}: {' '.join(answer['failure'])}" for site, answer in answers.items() if "failure" in answer]
    if failed:
        raise RunError(f"a site cannot take part: {'; '.join(failed)}; its own runs/RUN/log.txt says why. Nothing was trained")
    return {site: answer["info"] for site, answer in answers.items()}


def _answers(line: HubLine, told: Told, patience: Patience) -> dict[ClientId, Told]:
    """Return what each site says, in the order of their names; of one without signs of life, that it is lost."""
    answers: dict[ClientId, Told] = {}

    def ask(site: ClientId) -> None:
        answers[site] = _open(line, site, told)

    threads = {site: beside(ask, site) for site in line.sites}
    missed = dict.fromkeys(line.sites, 0)
    while not line.stopped() and (waiting := [site for site in line.sites if site not in answers]):
        threads[waiting[0]].join(patience.beat_s)
        for site in waiting:
            missed[site] = 0 if site in answers or gives_sign(line, site, patience.beat_s) else missed[site] + 1
            if missed[site] >= OPEN_MISSES:
                answers.setdefault(site, {"failure": ["lost", "NoSignOfLife"]})
    if line.stopped():  # the engine then claims that calls timed out
        raise Stopped("the engine stopped the job before its first round")
    return {site: answers[site] for site in line.sites}


class SiteLost(RunError):
    """A site died before the first round of a submission: the job is handed in again, with those that are there then."""


class SiteRefused(JobError):
    """A site does not permit what the job asks for, or has other versions or another backbone."""


def _open(line: HubLine, site: ClientId, told: Told) -> Told:
    try:
        answer = line.open(site, told, OPEN_S)
    except BaseException as fault:  # also the engine's own sign that the job is over, which `Line.stopped` tells
        return {"failure": ["lost", type(fault).__name__]}
    return answer if isinstance(answer, dict) and len(answer) == 1 else {"failure": ["off-manifest", "Opening"]}


def _divided(sites: list[ClientId], settings: Mapping[str, Any]) -> Divided:
    """Return what the hub has of the data: public files alone."""
    return Divided(
        train={site: [] for site in sites},
        validation={},
        test={},
        server_validation=to_examples(settings["validation"]),
        server_test=to_examples(settings["test"]),
        table=pd.DataFrame(columns=["example", "client", "part"]),
        divergence=None,
        divergence_over="",
        dropped={},
        elsewhere=frozenset(sites),
        public=to_examples(settings["public"]),
    )


def _begun(folder: Path) -> bool:
    return any((folder / "checkpoint").glob("[0-9]*"))


def _version(folder: Path) -> int:
    """Return how many rounds are behind a run."""
    if not _begun(folder):
        return 0
    progress = RunFolder(folder).load(lambda kind, **facts: None)
    return 0 if progress is None else progress.state.version


def _backbones(kit: Path) -> dict[str, str]:
    file = kit / "local" / HUB_FILE
    return dict(json.loads(file.read_text(encoding="utf-8")).get("backbones", {})) if file.is_file() else {}
