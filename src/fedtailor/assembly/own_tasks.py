"""Clients that train another task than the job's: their data are read and divided for it, and their figures are its."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..data.divide import Divided, divide
from ..data.load import files_by_name
from ..data.memory import tables_of_clients
from ..data.partition.base import client_ids
from ..data.partition.files import Files
from ..data.parts import given_parts
from ..data.read import read_table
from ..data.table import Table
from ..errors import DataError, SettingError
from ..job import Job
from ..metrics.figure import scores_answers
from ..records import ClientId
from ..tasks import Task
from ..tasks.evaluation import Evaluation
from ..tasks.task import at_moment, reads_of


def own_tasks(job: Job) -> dict[ClientId, Any]:
    """Return the tasks that `clients.overrides` names."""
    return {client: own.task for client, own in sorted(job.clients.overrides.items()) if own.task not in (None, job.task)}


def task_names(job: Job) -> dict[ClientId, str]:
    """Return what the tasks are called of clients that have another than the job's: their kind; of two of one kind the later has its first client's name behind it."""
    named: list[tuple[Any, str]] = [(job.task, str(job.task.kind))]
    found: dict[ClientId, str] = {}
    for client, task in own_tasks(job).items():
        name = next((known for other, known in named if other == task), None)
        if name is None:
            name = str(task.kind)
            name = f"{name} ({client})" if name in {known for _, known in named} else name
            named.append((task, name))
        found[client] = name
    return found


def task_of(job: Job, client: ClientId) -> Any:
    """Return the task that a client trains."""
    return own_tasks(job).get(client, job.task)


def reads_of_job(job: Job, task: Any = None) -> dict[str, Any]:
    """Return what a job reads of the data for a task, its own if none is given: what that does, and the column that says whose an example is, if privacy goes by one."""
    found, private = reads_of(job.task if task is None else task), job.protocol.local.privacy
    column = None if private is None else private.column
    return found if column is None else {**found, "extra": (*found.get("extra", ()), column)}


def divide_by_task(job: Job, given: Any = None) -> Divided:
    """Return the data of a job of several tasks: those of each task are read and divided by themselves, as each client has a file of its own.

    `data.limit.train` bounds the examples of each task; public files are of the job's own.

    Raises:
        SettingError: if clients have no files of their own, or none of them has the job's task.
    """
    own, tables = own_tasks(job), _tables(job, given)
    strange = sorted(own.keys() - tables.keys())
    if strange:
        raise SettingError(
            f"clients.overrides names {strange[0]!r}, and there is no such client; the clients are {', '.join(sorted(tables))}"
        )
    groups: list[tuple[Any, Mapping[str, str], list[ClientId]]] = [
        (job.task, {}, [client for client in tables if client not in own])
    ]
    if not groups[0][2]:
        raise SettingError(
            "clients.overrides gives every client a task of its own; let the job's task be that of some of them, and leave their overrides out"
        )
    for client, task in own.items():
        columns = job.clients.overrides[client].columns
        same = next((clients for other, named, clients in groups[1:] if (other, named) == (task, columns)), None)
        if same is None:
            groups.append((task, columns, [client]))
        else:
            same.append(client)
    parts = [_divide_one(job, task, own, {c: tables[c] for c in clients}, given) for task, own, clients in groups]
    return _merged(parts)


def resolved_tasks(job: Job, divided: Divided, moment: str) -> dict[ClientId, Task]:
    """Return the tasks of clients that have another than the job's, with what they take from the data of all that have the same."""
    own = own_tasks(job)
    found: dict[ClientId, Task] = {}
    for client, task in own.items():
        alike = [other for other in found if own[other] == task]
        if alike:
            found[client] = found[alike[0]]
            continue
        same = [other for other in own if own[other] == task]
        examples = [e for part in (divided.train, divided.validation) for other in same for e in part.get(other, ())]
        found[client] = at_moment(task.resolve(examples, job.base), moment)
    return found


def fitting_evaluation(evaluation: Evaluation, task: Any, *, alone: bool) -> Evaluation:
    """Return what of an evaluation a task can measure: metrics of other tasks are left out, and none that is left stands for its own choice.

    Args:
        alone: whether all clients have this task; then it is as the job says, and counts of classes may be reported.
    """
    if alone:
        return evaluation
    known = {"loss", *task.metrics}
    named = [m for m in evaluation.metrics or () if (m in known if isinstance(m, str) else scores_answers(task.figures))]
    return replace(evaluation, metrics=named or None, class_counts=False)


def _tables(job: Job, given: Any) -> dict[ClientId, Table]:
    """Return the table of each client that there may be."""
    first = next(iter(own_tasks(job)))
    if given is not None:
        train = given_parts(given)["train"]
        tables = dict(tables_of_clients(train)) if isinstance(train, Mapping) else None
    elif getattr(job.clients.partition, "kind", "") == Files().kind:
        tables = {name: read_table(path) for name, path in files_by_name(job.data.train, job.base, "train").items()}
    else:
        tables = None
    if tables is None:
        raise SettingError(
            f"clients.overrides.{first}.task needs data of its own at each client: set clients: {{partition: files}} with a file for each client, or "
            "pass a mapping from names of clients to their examples"
        )
    names = client_ids(list(tables))
    return {names[name]: table for name, table in tables.items()}


def _divide_one(job: Job, task: Any, own: Mapping[str, str], tables: Mapping[ClientId, Table], given: Any) -> Divided:
    reads, shared = reads_of_job(job, task), task is job.task
    fields = {*task.required, *task.optional}
    others = {name for other in (job.task, *own_tasks(job).values()) for name in (*other.required, *other.optional)}
    columns = {name: column for name, column in job.data.columns.items() if name in fields or name not in others}
    data = replace(job.data, columns={**columns, **own})
    data = data if shared else replace(data, validation=None, test=None)
    public = {} if given is None or not shared else {name: one for name, one in given_parts(given).items() if name != "train"}
    try:
        return _divided(job, data, reads, {"train": dict(tables), **public}, key=task.required[0])
    except (DataError, SettingError) as fault:
        if shared:
            raise
        raise type(fault)(str(fault).replace("data.columns", f"clients.overrides.{next(iter(tables))}.columns")) from None


def _divided(job: Job, data: Any, reads: Mapping[str, Any], given: Any, *, key: str) -> Divided:
    return divide(
        data,
        replace(job.clients, count=None, per_round=None, partition=Files()),
        **reads,
        base=job.base,
        seed=job.seed,
        given=given,
        key=key,
    )


def _merged(parts: list[Divided]) -> Divided:
    import pandas as pd

    dropped: Counter[str] = Counter()
    for part in parts:
        dropped.update(part.dropped)
    sides: dict[str, Any] = {
        side: {client: own for part in parts for client, own in getattr(part, side).items()}
        for side in ("train", "validation", "test")
    }
    return replace(
        parts[0],
        **sides,
        table=pd.concat([part.table for part in parts], ignore_index=True),
        divergence=None,  # of different sorts of examples there is none
        divergence_over="",
        dropped=dict(dropped),
        notes=[note for part in parts for note in part.notes],
    )
