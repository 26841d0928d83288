"""DP-SGD of a job's clients: their units, their steps, and what is said of it before a run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..data.divide import Divided
from ..errors import DataError, SettingError
from ..interfaces import Plan
from ..job import Job
from ..learning.private.client import BUDGET_FILE, PrivateClient, units_of
from ..learning.private.settings import NAME, DpSgd, Schedule
from ..privacy import ReportedBudget, RunBudget
from ..records import ClientId, Example
from ..tasks.shard import Shard
from .examples import Examples
from .fits import Warn
from .protected import budget_of

LITTLE = 3.0  # noise over signal of a client's run beyond which little is learned from it alone


def with_privacy(
    job: Job, plan: Plan, divided: Divided, examples: Examples, *, folder: Path | None, warn: Warn
) -> tuple[Examples, RunBudget | None]:
    """Return the examples with the DP-SGD of their clients, and what counts the privacy that a run spends, by them or by a protection."""
    private = private_clients(job, plan, divided, examples, folder=folder, warn=warn)
    own = private_budget(job, plan, private, warn)
    return replace(examples, private=private), budget_of(job, plan, warn, own=own)


def private_clients(
    job: Job, plan: Plan, divided: Divided, examples: Examples, *, folder: Path | None, warn: Warn
) -> dict[ClientId, PrivateClient]:
    """Return the DP-SGD of each client that trains; empty if the job asks for none.

    Args:
        folder: where each client keeps what is its own; None: in memory.

    Raises:
        SettingError: if a client has too few units, or settings do not go together.
        DataError: if a row does not say whose it is.
    """
    settings = job.protocol.local.privacy
    if settings is None:
        return {}
    _check(job)
    return {
        client: _private_client(job, plan, divided, client, train=examples.prepare(client).train, folder=folder, warn=warn)
        for client, amount in examples.amounts.items()
        if amount.train
    }


def private_budget(job: Job, plan: Plan, found: Mapping[ClientId, PrivateClient], warn: Warn) -> ReportedBudget | None:
    """Return what counts the privacy that a run spends by DP-SGD; None if the job asks for none."""
    settings, clients = job.protocol.local.privacy, list(found.values())
    if settings is None:
        return None
    worst = min(clients, key=lambda client: client.schedule.units, default=None)
    largest = max(clients, key=lambda client: client.schedule.units, default=None)

    def words(rounds: int) -> list[str]:
        if worst is None:
            return [_elsewhere(settings)]
        return worst.budget.sentences() if worst.budget.releases else worst.budget.sentences(ahead=rounds)

    def planned() -> Sequence[tuple[str, str]]:
        return [("noise", _noise(worst, largest, plan))] if worst and largest else []

    if worst is not None and (ratio := worst.schedule.ratio(plan.values)) > LITTLE:
        warn(
            f"{NAME}: over the run the noise of client {worst.id!r} is {ratio:.2g} times as long as all its clipped gradients together can be; beyond "
            f"{LITTLE:g} little is learned; take fewer weights, more units a step, or a larger epsilon"
        )
    return ReportedBudget(delta=settings.delta, most=settings.epsilon, words=words, planned=planned)


def _private_client(
    job: Job, plan: Plan, divided: Divided, client: ClientId, *, train: Shard, folder: Path | None, warn: Warn
) -> PrivateClient:
    """Return one client's DP-SGD."""
    local, settings = job.protocol.local, job.protocol.local.privacy
    assert settings is not None  # the caller has seen to it
    values = _values(divided.train[client], client, train, settings.column)
    units, left = units_of(values, len(train), most_rows=settings.most_rows)
    if left:
        warn(
            f"{NAME}: {left} examples of client {client!r} are left out: they are beyond the first {settings.most_rows} of their {settings.column!r} "
            "(most_rows)"
        )
    batch = local.batch_size * local.accumulate
    settings.check_client(client, len(units), batch)
    schedule = Schedule(
        settings=settings, units=len(units), batch=batch, steps=local.steps_per_round(len(units)), rounds=plan.rounds
    )
    return PrivateClient(
        id=client, schedule=schedule, units=units, file=None if folder is None else folder / client / BUDGET_FILE
    )


def _values(examples: Sequence[Example], client: ClientId, train: Shard, column: str | None) -> list[object] | None:
    """Return whose each row of a client's training part is; None if each is its own."""
    if column is None:
        return None
    dropped = {name for name, _ in train.dropped}
    kept = [example for example in examples if example.id not in dropped]
    if len(kept) != len(train):
        raise SettingError(
            f"{NAME}: unit: {{column: {column}}} is for data whose rows are examples, and running text is cut into blocks; choose unit: example, "
            "which hides one block"
        )
    for example in kept:
        if example.fields.get(column) in (None, ""):
            known = ", ".join(sorted(example.fields))
            raise DataError(
                f"{NAME}: example {example.id} of client {client!r} has no {column!r}, so nobody knows whose it is; it has {known}; fill the column, or "
                "choose another one (unit: {column: …}) or unit: example"
            )
    return [example.fields[column] for example in kept]


def _check(job: Job) -> None:
    """Raise SettingError, naming the pair, if a setting of the job would undo the promise."""
    if job.protocol.weights == "targets":
        raise SettingError(
            f"{NAME} does not go with protocol.weights: targets: how many targets a client has seen depends on the examples that it drew; choose "
            "examples or uniform"
        )
    if any(getattr(part, "kind", "") == "dp" for part in job.protection):
        raise SettingError(
            f"{NAME} does not go with protection: dp: one budget hides examples and the other clients, and they are counted apart; keep one of them"
        )


def _elsewhere(settings: DpSgd) -> str:
    """Return what is promised where clients' sizes are not known."""
    most = "what each of them reports" if settings.epsilon is None else f"at most {settings.epsilon:g}"
    return (
        f"epsilon is {most}, at delta {settings.delta:g}, for adding or removing {settings.unit_name} of a client, against whoever sees all that it sends: "
        "each client counts for itself"
    )


def _noise(worst: PrivateClient, largest: PrivateClient, plan: Plan) -> str:
    """Return how large the noise is, and how it compares with the signal."""
    least, most = worst.schedule, largest.schedule
    ratio = least.ratio(plan.values)
    return (
        f"{least.noise_multiplier:.4g} clips in each of {least.steps * least.rounds} steps of client {worst.id} (rate {least.rate:g}), "
        f"{most.noise_multiplier:.4g} of {largest.id}; over the run {ratio:.2g} times as long as all clipped gradients of a client together can be, "
        f"{ratio / plan.expected**0.5:.2g} times in the mean of {plan.expected:g} clients"
    )
