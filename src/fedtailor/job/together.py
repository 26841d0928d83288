"""Whether the techniques of a job go together: what each gives and needs is data, see `pairs`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..errors import SettingError
from ..interfaces import ONE_RANK, traits_of
from ..models.kinds import KINDS
from ..pairs import Need, Technique, check_together, technique
from ..protection import needs_of
from ..protocols import PROTOCOLS
from ..tuning.asked import ranks_of

ANY_MODEL = Need(word="any-model", remedy="choose protocol: averaging")  # of a task whose model is none of texts
LOSS_USERS: Mapping[str, str] = {
    "stop.patience": "set stop: {patience: null, keep: last}",
    "stop.keep: best": "set stop.keep: last",
    "personalization.keep: best": "set personalization.keep: last",
    "evaluation.local_gain": "leave it out",
}  # settings by which something goes by the held-out loss, and what to write instead
FORGETS = (
    Need(word="training", name="evaluation.retained", why="no weight changes, so nothing is forgotten", remedy="leave it out"),
    Need(
        word="next-token",
        name="evaluation.retained",
        why="a loss on general text is that of a language model",
        remedy="leave it out, or choose a task of a language model, such as generation or label-likelihood",
    ),
)
CHOSEN_RANK = (
    Need(word="training", name="tuning.rank: auto", remedy="give a rank"),
    Need(word="one-model", name="tuning.rank: auto", remedy="choose protocol: averaging, or give a rank"),
    Need(word="whole-model", name="tuning.rank: auto", remedy="choose protocol: averaging, or give a rank"),
    Need(word="rank-free", name="tuning.rank: auto", remedy="choose personalization: finetune or none, or give a rank"),
    Need(word="one-task", name="tuning.rank: auto", remedy="leave the tasks out, or give a rank"),
)
OF_HOSTILE = (Need(word="updates", why="it changes updates of weights", remedy="choose protocol: averaging, or leave it out"),)
AS_TEXT = ", such as generation with the class as its target"
TRAINED_ALONE = Need(word="whole-model", name="evaluation.local_only", remedy="leave it out, and run --baseline local beside")


def check_job(job: Any, rule: object = None) -> None:
    """Hold the techniques of a job against each other.

    Args:
        rule: of aggregation, if it is another than the job's.

    Raises:
        SettingError: naming both sides of the first pair that does not go together, why, and what to write instead.
    """
    check_together([*techniques_of(job, job.protocol.aggregation if rule is None else rule)])


def techniques_of(job: Any, rule: object) -> Iterator[Technique]:
    """Yield what a job has chosen, as far as others must know it."""
    yield task_technique(job.task)
    yield technique("tuning", job.tuning)
    yield technique("protocol", job.protocol)
    yield technique("personalization", job.personalization)
    found = technique("aggregation", rule, path="protocol.aggregation", traits=traits_of(rule))
    needs = [need for need in found.needs if need is not ONE_RANK]  # held once the clients are known, see `assembly.ranks`
    yield replace(found, gives={**found.gives, "plain-mean": traits_of(job.protocol.aggregation).plain_mean}, needs=needs)
    for protection in job.protection:
        found = technique("protection", protection)
        yield Technique(section="protection", name=found.name, gives=found.gives, needs=needs_of(protection))
    for phase in job.after:
        yield technique("after", phase)
    if (private := job.protocol.local.privacy) is not None:
        yield Technique(section="privacy", name="protocol.local.privacy: dp-sgd", gives={}, needs=private.needs)
    for client, own in job.clients.overrides.items():
        if own.task is not None:
            found = task_technique(own.task)
            yield replace(found, name=f"clients.overrides.{client}.{found.name}")
    yield from _clients(job)
    yield from _by_loss(job)
    if job.evaluation.local_only and job.personalization.personal:
        yield Technique(section="evaluation", name=TRAINED_ALONE.name, gives={}, needs=(TRAINED_ALONE,))
    if ranks_of(job.tuning):
        yield Technique(section="ranks", name="tuning.rank: auto", gives={}, needs=CHOSEN_RANK)
    if job.evaluation.retained is not None:
        yield Technique(section="evaluation", name="evaluation.retained", gives={}, needs=FORGETS)


def _by_loss(job: Any) -> Iterator[Technique]:
    """Yield the settings by which something goes by the held-out loss."""
    chosen = {
        "stop.patience": job.stop.patience is not None,
        "stop.keep: best": job.stop.keep == "best",
        "personalization.keep: best": getattr(job.personalization, "keep", None) == "best",
        "evaluation.local_gain": job.evaluation.local_gain,
    }
    for name, remedy in LOSS_USERS.items():
        if chosen[name]:
            yield Technique(section="", name=name, gives={}, needs=(Need(word="held-out-loss", remedy=remedy),))


def _clients(job: Any) -> Iterator[Technique]:
    """Yield what of the clients' section others must know, each under the name of its setting."""
    clients, tuning = job.clients, job.tuning
    ranks = [own.tuning for own in clients.overrides.values() if own.backbone is None]
    chosen = bool(ranks_of(tuning))
    one_rank = all(getattr(own, name) in (None, getattr(tuning, name, None)) for own in ranks for name in ("rank", "alpha"))
    if clients.hostile_share:
        yield Technique(section="clients", name=f"clients.hostile_share: {clients.hostile_share:g}", gives={}, needs=OF_HOSTILE)
    for name, gives in (
        (f"clients.select: {clients.select}", {"drawn-alike": clients.select == "uniform"}),
        (f"clients.most_weight: {clients.most_weight:g}", {"shares-as-sent": clients.most_weight >= 1}),
        ("tuning.rank: auto" if chosen else "clients.overrides of ranks", {"one-rank": one_rank and not chosen}),
        ("clients.overrides of tasks", {"one-task": all(own.task in (None, job.task) for own in clients.overrides.values())}),
    ):
        yield Technique(section="clients", name=name, gives=gives, needs=())


def check_kinds(task: Any, overrides: Mapping[str, Any]) -> None:
    """Raise SettingError if a client's own task needs another kind of backbone than the job's, or columns are named without one."""
    for client, own in overrides.items():
        if own.columns and own.task in (None, task):
            raise SettingError(
                f"clients.overrides.{client}.columns goes with a task of its own, clients.overrides.{client}.task, other than the job's; rename the columns of its data, "
                "or set data.columns for all"
            )
        if own.task is not None and own.task.backbone != task.backbone:
            raise SettingError(
                f"clients.overrides.{client}.task is {own.task.kind}, which needs a {own.task.backbone} backbone, and task: {task.kind} a {task.backbone} one: all "
                f"clients share one model; choose a task of the same kind{AS_TEXT if (task.backbone, own.task.backbone) == ('causal', 'classifier') else ''}"
            )


def task_technique(task: Any) -> Technique:
    """Return a task; what it reads follows from the kind of its backbone."""
    found = technique("task", task)
    kind = KINDS.get(task.backbone)
    if kind is None:
        return found
    gives = {**found.gives, "next-token": kind.causal}
    if kind.of_texts:
        return replace(found, gives=gives)
    return replace(found, gives={**gives, "tokens": False}, needs=(*found.needs, ANY_MODEL))


def with_usual(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a job with those that its protocol usually has, such as a tuning, where they name none."""
    protocol = settings.get("protocol")
    kind = protocol.get("kind") if isinstance(protocol, Mapping) else getattr(protocol, "kind", protocol)
    usual = PROTOCOLS.get(kind) if isinstance(kind, str) else None
    return dict(settings) if usual is None else {**usual.usual, **settings}
