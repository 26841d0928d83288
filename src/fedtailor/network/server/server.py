"""The server's end of a job: opens it at the sites, then carries it out as a local run is."""

import json
import shutil
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ...assembly import Parts, assemble
from ...data import Divided
from ...errors import FedtailorError, JobError, SettingError
from ...federation.nvflare.engine import NetFederation, Stopped
from ...federation.nvflare.line import Patience, Places, Plain
from ...interfaces import Federation
from ...job import Job
from ...job.own_classes import fedtailors_classes_alone
from ...old_names import OLD_NAMES, new_name
from ...protocols.rounds.sampling import clients_per_round
from ...records import ClientId, ClientInfo
from ...retrieval.inbox import Inbox
from ...run_files import finite
from ...running import RunFolder, carry_out
from ...running.resume import check_same_job, recorded_clock
from ...storage import write_text
from ..kit.versions import version_warnings, versions
from ..meeting.meeting import REFUSED, SERVERS, at_clock, backbone_name, is_folder_name, job_to_send, plain_examples, to_examples
from ..meeting.opening import ServerLine, SiteLost, open_at_sites
from .backbone_ledger import sent_before
from .backbone_push import push

AGAIN = "again"  # how a job ends that is to be submitted again
SETTINGS = "job.json"  # comes with the job
OUTCOME, RUN = "outcome.json", "run"  # what a job leaves
SERVER_FILE = "local/server.json"  # in the server's kit: names of backbones and where they lie


def work(line: ServerLine, places: Places, diary: "Diary") -> None:
    """Carry a job out, or send a backbone; leave the run folder and how it ended as the job's result.

    Raises:
        SettingError: if `run` is no name of a run.
    """
    settings = json.loads((places.settings / SETTINGS).read_text(encoding="utf-8"))
    run = str(settings["run"])
    folder, fits = places.kit / "runs" / run, is_folder_name(run)  # else any folder of this machine could be fetched as a run
    outcome: dict[str, Any] = {"ended": "done"}
    try:
        if not fits:
            raise SettingError(f"{run!r} is no name of a run: letters, digits, - _ and . alone")
        if "push" in settings:
            outcome["sites"] = push(settings, line, diary, places.kit, _backbones(places.kit))
        else:
            with fedtailors_classes_alone():
                carry_out_at_server(settings, folder, line, diary, backbones=_backbones(places.kit))
    except Stopped:
        raise
    except SiteLost as fault:
        outcome = {"ended": AGAIN, "text": str(fault)}
    except FedtailorError as fault:
        outcome = {"ended": REFUSED if isinstance(fault, JobError) else "failed", "text": str(fault)}
    except Exception as fault:
        outcome = {"ended": "failed", "text": f"the server met a fault that nobody foresaw: {type(fault).__name__}: {fault}"}
    if fits and folder.is_dir():
        shutil.copytree(folder, places.job / RUN, dirs_exist_ok=True)
    write_text(places.job / OUTCOME, json.dumps({**outcome, "events": diary.events}))


class Diary:
    """What happened in a job, for those who watch it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.inbox = Inbox()
        self._lock = threading.Lock()

    def __call__(self, kind: str, facts: Mapping[str, object]) -> None:
        """Note one event; the summary is in the run folder."""
        plain = finite({name: value for name, value in facts.items() if name != "summary"})
        with self._lock:
            self.events.append((kind, json.loads(json.dumps(plain, default=str))))

    def answer(self, data: Any) -> Plain:
        """Return the events after the first `data["after"]`; or take the questions in `data["ask"]`, or give the answer to the ticket `data["look"]`."""
        if isinstance(data, Mapping) and isinstance(data.get("ask"), Mapping):
            return self.inbox.put(data["ask"])
        if isinstance(data, Mapping) and "look" in data:
            return self.inbox.look(str(data["look"]))
        after = int((data or {}).get("after", 0))
        with self._lock:
            return {"events": self.events[after:]}


def carry_out_at_server(
    settings: Mapping[str, Any], folder: Path, line: ServerLine, diary: Diary, *, backbones: Mapping[str, str]
) -> None:
    """Assemble the server's parts, open the job at all sites, and carry it out in the run folder, from its last round if it has one.

    Raises:
        JobError: if the job is not usable, or a site does not take part; nothing was trained then.
        RunError: if the run cannot continue; its state is kept.
    """
    job = Job.from_dict(settings["job"])
    job = job.replace("backbone", backbones.get(job.backbone, job.backbone))
    warnings = check_same_job(job, folder) if _begun(folder) else []
    parts = assemble(
        job, divided=_divided(line.sites, settings), begun=_begun(folder), clock=recorded_clock(folder), warn=warnings.append
    )
    parts.protocol.take_questions(diary.inbox)
    diary("opening", {"sites": line.sites})
    patience = Patience(**settings.get("patience", {}))
    infos = open_at_sites(
        line,
        opening(settings, line.sites, parts, version=_version(folder)),
        patience,
        leave_out=lambda site, why: warnings.append(f"site {site} is left out: {why}"),
        most_examples=job.clients.most_examples,
    )
    clients = [ClientInfo(id=site, examples=info["examples"]) for site, info in sorted(infos.items())]
    per_round = clients_per_round(len(clients), fraction=job.clients.fraction, per_round=job.clients.per_round)
    parts = replace(
        parts,
        sampler=replace(parts.sampler, clients=clients, per_round=per_round),
        measured_elsewhere=[site for site, info in sorted(infos.items()) if info["measures"]],
    )
    for site, info in sorted(infos.items()):
        warnings += version_warnings(site, info["versions"], versions())
    engines: list[NetFederation] = []

    def connect(parts: Parts, folder: RunFolder, notify: Any) -> Federation:
        engines.append(NetFederation(line, parts.sampler.clients, parts.gate_of(), patience))
        name, server = backbone_name(parts.job.backbone), folder.path.parents[1]
        sent = sent_before(server, name, parts.backbone.hashes["weights"], sorted(infos))
        folder.write_json("network.json", {"run": settings["run"], "sites": infos, "backbone_sent": sent})
        return engines[0]

    try:
        carry_out(parts, folder, watcher=diary, warnings=warnings, connect=connect)
    finally:
        for engine in engines:
            engine.close()


def opening(settings: Mapping[str, Any], sites: list[ClientId], parts: Parts, *, version: int) -> Plain:
    """Return what the server sends each site of a job.

    Args:
        version: rounds behind the run: what a site kept after them is let go.
    """
    return {
        "run": settings["run"],
        "version": version,
        "sites": sites,
        "job": job_to_send(at_clock(parts.job, parts.worker.task)),
        "public": plain_examples(parts.public),
        "test": settings["test"],
        "retained": settings.get("retained", []) if parts.job.personalization.personal else [],
        "validation_file": bool(settings["validation"]),
        SERVERS: {"versions": versions(), "backbone": dict(parts.backbone.hashes)},
    }


def _divided(sites: list[ClientId], settings: Mapping[str, Any]) -> Divided:
    """Return what the server has of the data: public files alone."""
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
        retained=to_examples(settings.get("retained", [])),
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
    """Return names of backbones and where they lie on this machine.

    Raises:
        SettingError: if only a file by an old name is there.
    """
    file, renamed = kit / SERVER_FILE, [old for old in OLD_NAMES["kit"] if (kit / old).is_file()]
    if renamed and not file.is_file():
        raise SettingError(f"{kit}: {new_name('kit', renamed[0])}: mv {kit / renamed[0]} {file}")
    return dict(json.loads(file.read_text(encoding="utf-8")).get("backbones", {})) if file.is_file() else {}
