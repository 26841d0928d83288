"""The same job without a federation: all data in one place, or each client alone."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from ..assembly import Parts, assemble
from ..assembly.examples import Amounts
from ..data import Clients
from ..data.settings import OwnTuning
from ..errors import SettingError
from ..job import Job
from ..learning.client import Prepared
from ..learning.over_clients import pool, pooled_counts, summarize_clients
from ..learning.store import Store
from ..pairs import technique
from ..protocols import Bench, ready_protocol
from ..records import ClientId, ClientInfo, Example
from ..running import Result, RunFolder, Watcher, carry_out
from ..running.environment import describe_environment
from ..running.folder import choose_folder
from ..tuning.asked import ranks_of

Baseline = Literal["central", "central-steps", "local"]
CENTRAL = "central"  # the one client that holds everybody's training parts


def run_baseline(
    job: Job, kind: Baseline, *, data: Any = None, out: Path | str | None = None, watcher: Watcher | None = None
) -> Result:
    """Carry out the baseline of a job on the same parts of the same data, and return what it made.

    `central` trains one client on everybody's training parts: as many examples a round as the federation sees in one.
    `central-steps` does so in as many sequential steps a round as one client takes, with the examples of all clients
    asked in each step. `local` trains each client alone for as many rounds, and evaluates each on its own parts.

    Raises:
        JobError: if a setting, the data or the backbone is not usable; nothing has been written then.
    """
    if kind not in get_args(Baseline):
        raise SettingError(f"there is no baseline {kind!r}; choose one of {', '.join(get_args(Baseline))}")
    job = baseline_job(job, kind)
    path = choose_folder(None if out is None else Path(out), f"{job.name}-{kind}")
    warnings: list[str] = []
    parts = assemble(job, given=data, clients_folder=path / "clients", warn=warnings.append)
    if kind == "local":
        return _each_alone(parts, path, watcher=watcher, warnings=warnings)
    return carry_out(_together(parts, kind), path, watcher=watcher, warnings=warnings, baseline=kind)


def baseline_job(job: Job, kind: Baseline) -> Job:
    """Return the job as a baseline carries it out: nobody shares anything, or everybody everything, so nothing is personal.

    What is said between server and clients has no part in it: a rule of aggregation, weights, a wire, a quorum. Else the same data would be
    trained on otherwise under each rule (FLoRA draws A again, FFA-LoRA freezes it). Where clients train alone at ranks of their own the rule
    stays, as it deals the ranks out.

    Raises:
        SettingError: if clients with backbones of their own are to train alone, or no weight is trained.
    """
    protocol_of_job = technique("protocol", job.protocol)
    if protocol_of_job.lack("training") is not None:
        raise SettingError(
            f"a baseline trains in one place or at each client alone, and {protocol_of_job.name} trains no weight; for a search on all data in one place set "
            "clients: {count: 1}."
        )
    other = next((client for client, own in job.clients.overrides.items() if own.backbone is not None), None)
    if kind == "local" and other is not None:
        raise SettingError(
            f"baseline local trains the job's backbone at each client, and {other} has one of its own (clients.overrides.{other}.backbone); take the "
            "override out for it, or choose baseline central, which has one model"
        )
    if kind != "local" and (
        tasked := next((client for client, own in job.clients.overrides.items() if own.task is not None), None)
    ):
        raise SettingError(
            f"baseline {kind} trains one task in one place, and {tasked} has one of its own (clients.overrides.{tasked}.task); choose baseline local, or run "
            "a job for each task"
        )
    if ranks_of(job.tuning):
        job = job.replace(
            "tuning", {**job.to_dict()["tuning"], "ranks": [], "round_seconds": None}
        )  # nobody sends anything: the largest
    job = job.replace("personalization", {"kind": "none"}).replace("evaluation.local_only", False)
    settings = job.to_dict()
    protocol: dict[str, Any] = {
        "kind": "averaging",
        "local": settings["protocol"]["local"],
    }  # nobody talks: local training is left
    own_ways = {
        client: own
        for client, own in job.clients.overrides.items()
        if kind == "local" and (own.tuning != OwnTuning() or own.task is not None)
    }
    of_ranks = [client for client, own in own_ways.items() if own.tuning != OwnTuning()]
    if protocol_of_job.lack("updates") is None and of_ranks:
        protocol["aggregation"] = settings["protocol"]["aggregation"]
    if kind != "local":
        protocol["local"] = {**protocol["local"], "proximal": 0.0}
    asking = (
        "failure_share",
        "hostile_share",
        "select",
        *(("fraction", "per_round") if kind == "local" else ()),
    )  # alone, each trains in every round
    clients = settings["clients"] | {name: getattr(Clients(), name) for name in asking}
    clients["overrides"] = {client: settings["clients"]["overrides"][client] for client in own_ways}
    return Job.from_dict({**settings, "protocol": protocol, "clients": clients, "protection": [], "after": []})


def _together(parts: Parts, kind: Baseline) -> Parts:
    """Return the parts with one client that trains on everything; the others are evaluated, and train no more."""
    settings: Any = parts.protocol.settings  # of averaging: `baseline_job` has seen to it
    asked, infos = parts.sampler.per_round, parts.sampler.clients
    examples: list[Example] = [example for client in sorted(parts.divided.train) for example in parts.divided.train[client]]
    everything = parts.worker.task.prepare(examples, parts.worker.processor, keep_examples=False)
    local = replace(settings.local, keep_optimizer=True)  # nobody who has all data in one place starts Adam again each round
    if kind == "central-steps":
        steps = max(local.steps_per_round(info.examples) for info in infos)
        local = replace(local, steps=steps, accumulate=local.accumulate * asked)
    elif local.steps is not None:
        local = replace(local, steps=local.steps * asked)
    else:
        local = replace(local, epochs=local.epochs * asked / len(infos))
    empty = everything.select([])
    name = CENTRAL
    while name in parts.clients:  # a client of the job may be called so
        name += "-"
    info = ClientInfo(id=name, examples=len(everything))
    held = Prepared(train=everything, validation=empty, test=empty)
    before = parts.clients.prepare
    clients = replace(
        parts.clients,
        amounts={**parts.clients.amounts, name: Amounts.of(held)},
        prepare=lambda client: held if client == name else before(client),
        differing={},  # there is one adapter, of the job's rank, and everybody's figures are its
    )
    clients.stores[name] = Store(id=name)
    return replace(
        parts,
        job=parts.job,
        protocol=ready_protocol(
            replace(settings, local=local), Bench(worker=parts.worker, base=parts.job.base, rounds=parts.job.stop.rounds)
        ),
        clients=clients,
        sampler=replace(parts.sampler, clients=[info], per_round=1),
        ranks={},
    )


def _each_alone(parts: Parts, path: Path, *, watcher: Watcher | None, warnings: list[str]) -> Result:
    """Run one federation of one for each client, in that client's own folder, and put the figures together."""
    start = parts.worker.tensors()
    folder = RunFolder(path)
    folder.write_text("job.yaml", parts.job.to_yaml())
    folder.write_json("environment.json", {**describe_environment(parts), "baseline": "local"})
    folder.write_table("partition", parts.divided.table)
    summaries: dict[ClientId, dict[str, Any]] = {}
    for info in parts.sampler.clients:
        parts.worker.load(start)
        alone = replace(
            parts,
            clients=replace(
                parts.clients,
                amounts={info.id: parts.clients.amounts[info.id]},
                differing={client: own for client, own in parts.clients.differing.items() if client == info.id},
                folder=path / "clients" / info.id / "alone" / "clients",
            ),
            sampler=replace(parts.sampler, clients=[info], per_round=1),
        )
        result = carry_out(alone, path / "clients" / info.id / "alone", watcher=watcher, warnings=warnings, baseline="local")
        summaries[info.id], warnings = result.summary, []
    summary = _put_together(summaries, parts)
    for name in ("clients", "evaluations"):
        folder.write_rows(name, [row for client, own in summaries.items() for row in _rows(path, name, client, own)])
    folder.write_json("summary.json", summary)
    return Result(folder=path, summary=summary)


def _rows(path: Path, name: str, client: ClientId, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of one client's table under its name; of evaluations those before round 1 and of the weights that it kept."""
    import pandas as pd

    file = path / "clients" / client / "alone" / f"{name}.parquet"
    rows: list[dict[str, Any]] = pd.read_parquet(file).to_dict("records")  # type: ignore[assignment]
    kept = (0, summary["best_round"] if summary["kept"] == "best" else summary["rounds"])
    return [{**row, "client": client} for row in rows if name == "clients" or row["round"] in kept]


def _put_together(summaries: Mapping[ClientId, dict[str, Any]], parts: Parts) -> dict[str, Any]:
    """Return one summary of all clients' own: `metrics` are means over the clients' models, `clients` on their own parts."""
    runs = list(summaries.values())
    first = runs[0]
    directions = parts.job.evaluation.directions
    own = {moment: {c: _own(s, moment) for c, s in summaries.items()} for moment in ("before", "after")}
    return {
        **first,
        "rounds": max(run["rounds"] for run in runs),
        "stopped_by": "each client alone",
        "best_round": None,
        "metrics": {moment: _over(runs, moment, parts) for moment in own},
        "counts": {moment: pooled_counts(run["counts"][moment] for run in runs) for moment in own},
        "validation_loss": None,
        **_retained(runs),
        "clients": {
            "count": len(runs),
            "before": summarize_clients(own["before"], directions),
            **summarize_clients(own["after"], directions),
        },
        "traffic": {"up_bytes": 0, "down_bytes": 0, "by_kind": {}},
        "flops": {"client_total": sum(run["flops"]["client_total"] for run in runs)},
        "memory": {name: max(run["memory"][name] for run in runs) for name in first["memory"]},
        "seconds": {name: sum(run["seconds"].get(name, 0.0) for run in runs) for name in first["seconds"]},
    }


def _retained(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the section of losses on general text: means over the clients' models; none if none was measured."""
    found = [run["retained"] for run in runs if "retained" in run]
    if not found:
        return {}
    means = {moment: {"loss": sum(each[moment]["loss"] for each in found) / len(found)} for moment in ("before", "after")}
    return {"retained": {**found[0], **means}}


def _own(summary: Mapping[str, Any], moment: str) -> Mapping[str, float]:
    """Return the figures of a run of one client on that client's own test part: the mean over its one client."""
    clients = summary["clients"]
    figures: Mapping[str, float] = (clients["before"] if moment == "before" else clients)["mean"]
    return figures


def _over(runs: list[dict[str, Any]], moment: str, parts: Parts) -> dict[str, float]:
    """Return the figures over all clients: on their own parts as if these were one, on a public test set the mean over models."""
    figures = [run["metrics"][moment] for run in runs]
    if not len(parts.server_test):
        sets = [own | run["counts"][moment] for own, run in zip(figures, runs, strict=True)]
        return pool(sets, no_means=parts.job.evaluation.no_means)
    return {
        name: sum(each[name] for each in figures) / len(figures) for name in figures[0] if all(name in each for each in figures)
    }
