"""After the rounds: what each client's own weights are worth to it, beside those that it started from and the shared ones."""

from collections.abc import Mapping
from itertools import count
from typing import Any

from ..assembly import Parts
from ..errors import RunError
from ..learning.over_clients import numbers, over_clients
from ..ledger import train_flops
from ..protocols import alone
from ..protocols.personal import KIND, PersonalFigures, Personalized, W, ask_personal, personal_request
from ..records import ClientId, Message
from ..tuning import written
from .ending import FIX, End, kinds_of
from .progress import Progress

Figures = Mapping[ClientId, Mapping[str, Any]]
SCOPES = {"validation": "{}-validation", "test": "{}", "public": "{}-public", "retained": "{}-retained"}  # of evaluations.parquet


def personalize(end: End) -> Mapping[str, Any]:
    """Ask each client that trains to make the weights its own; return the section of the summary, by its name, or nothing if nothing is personal.

    It depends on the shared weights, the version and what clients kept as of then, and changes none of them: a run that is interrupted
    here begins this phase again, to the same bits.

    Raises:
        RunError: if no client could.
    """
    parts, progress = end.parts, end.progress
    if not parts.job.personalization.personal:
        return {}
    request = personal_request(end.shared, version=progress.state.version, generate=True, clients=len(end.federation.clients))
    found = _ask(end, request, Personalized, "personalization")
    if not found.work:
        raise RunError(
            f"none of {len(found.failures)} clients could make the shared weights its own: {kinds_of(found.failures.values())}; {FIX}"
        )
    _note(progress, found, end.round, kind=KIND, scope="personal")
    _count(parts, progress, found)
    end.notify("personalized", clients=len(found.work), kept=sum(work.kept for work in found.work.values()))
    return {"personal": _section(end, found, _train_alone(end))}


def _train_alone(end: End) -> PersonalFigures[alone.TrainedAlone]:
    """Ask each client, if the job wants it, to train alone for as many rounds as there were; what it costs is no cost of the method."""
    parts, progress = end.parts, end.progress
    if alone.KIND not in parts.manifest.down:
        return PersonalFigures()
    rounds, planned = progress.state.version, progress.figures["planned_rounds"]
    request = alone.alone_request(
        end.folder.read_start(progress.figures["start_sha256"]),
        rates=[parts.protocol.local.round_factor(round, planned) for round in range(1, rounds + 1)],
        keep_best=parts.job.stop.keep == "best",
    )
    found = _ask(end, request, alone.TrainedAlone, "training alone")
    _note(progress, found, rounds, kind=alone.KIND, scope="local")
    seconds = progress.figures["seconds"]
    seconds["alone"] = seconds.get("alone", 0.0) + sum(work.seconds for work in found.work.values())
    return found


def _ask(end: End, request: Message, form: type[W], what: str) -> PersonalFigures[W]:
    """Send the request to each client that trains, and return what came; who failed is an event."""
    asked = [info.id for info in end.parts.sampler.clients]
    replies = count(1)
    found = ask_personal(
        end.federation,
        asked,
        request,
        form,
        lambda client: end.notify("evaluating", what=f"{client}, {what}", done=next(replies), of=len(asked)),
    )
    for client, failure in found.failures.items():
        end.note_failure(client, failure, what)
    return found


def _note(progress: Progress, found: PersonalFigures[W], round: int, *, kind: str, scope: str) -> None:
    """Add figures and bytes to the progress; they take the place of figures that the round's evaluation had of the same clients' weights."""
    progress.drop_figures(round, [pattern.format(scope) for pattern in SCOPES.values()], found.work)
    for part, pattern in SCOPES.items():
        for client, figures in found.parts[part].items():
            progress.note_figures(round, pattern.format(scope), client, figures)
    progress.figures["seconds"]["evaluate"] += sum(work.evaluation_seconds or 0.0 for work in found.work.values())
    progress.add_traffic(kind, found.traffic.up_bytes, found.traffic.down_bytes, found.traffic.seconds)


def _count(parts: Parts, progress: Progress, found: PersonalFigures[Personalized]) -> None:
    """Add operations, seconds and memory to the progress."""
    for client, work in found.work.items():
        sizes, full = parts.clients.sizes_of(client), written(parts.job.tuning).every_weight
        progress.figures["flops"] += train_flops(work.tokens, sizes, full=full)
        progress.figures["seconds"]["train"] += work.seconds
        progress.note_peak(work.peak_bytes or 0)


def _section(end: End, found: PersonalFigures[Personalized], local: PersonalFigures[alone.TrainedAlone]) -> dict[str, Any]:
    """Return the figures of base, global and personal weights on the clients' own test parts, and the personal ones on the public set.

    `shares_a_part` says whether the shared weights are but a part of each client's model. With them go those of weights trained alone, if there are any: `local` and `local_public`.
    """
    parts, personal = end.parts, found.parts["test"]
    base = {client: own for client, own in _before(end.progress).items() if client in personal}
    shared = {client: own for client, own in end.after.clients.items() if client in personal}
    columns: dict[str, Figures] = {
        "base": base,
        "local": local.parts["test"],
        "global": shared,
        "personal": personal,
        "public": found.parts["public"],
        "local_public": local.parts["public"],
        "retained": found.parts["retained"],
        "local_retained": local.parts["retained"],
    }
    columns = {name: figures for name, figures in columns.items() if figures or not name.startswith(("local", "retained"))}
    return {
        **{name: over_clients(figures, parts.job.evaluation) for name, figures in columns.items() if figures},
        "kept": sum(work.kept for work in found.work.values()),
        "shares_a_part": parts.shares_a_part,
        **({"local_cost": _cost(parts, local)} if local.work else {}),
        "clients": {
            client: {"kept": bool(work.kept), **{name: numbers(of.get(client, {})) for name, of in columns.items()}}
            for client, work in sorted(found.work.items())
        },
    }


def _cost(parts: Parts, local: PersonalFigures[alone.TrainedAlone]) -> dict[str, float]:
    """Return what training alone cost all clients together."""
    full = written(parts.job.tuning).every_weight
    return {
        "flops": sum(train_flops(work.tokens, parts.clients.sizes_of(client), full=full) for client, work in local.work.items()),
        "seconds": sum(work.seconds for work in local.work.values()),
    }


def _before(progress: Progress) -> dict[ClientId, dict[str, float]]:
    """Return the clients' figures on their own test parts before the first round."""
    found: dict[ClientId, dict[str, float]] = {}
    for row in progress.rows["evaluations"]:
        if row["round"] == 0 and row["scope"] == "client":
            found.setdefault(row["client"], {}).setdefault(row["metric"], row["value"])  # the first: round 0 may be kept, too
    return found
