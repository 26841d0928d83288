"""Whether the techniques of a job go together: what each gives and needs is data, see `pairs`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..interfaces import traits_of
from ..models.kinds import KINDS
from ..pairs import USUAL_NEEDS, Need, Technique, check_together, technique
from ..protection import needs_of
from ..protocols import PROTOCOLS

ANY_MODEL = Need(word="any-model", remedy="choose protocol: averaging")  # of a task whose model is none of texts
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
    yield replace(found, gives={**found.gives, "plain-mean": traits_of(job.protocol.aggregation).plain_mean})
    for protection in job.protection:
        found = technique("protection", protection)
        yield Technique(section="protection", name=found.name, gives=found.gives, needs=needs_of(protection))
    for phase in job.after:
        yield technique("after", phase)
    if (private := job.protocol.local.privacy) is not None:
        yield Technique(section="privacy", name="protocol.local.privacy: dp-sgd", gives={}, needs=private.needs)
    yield from _clients(job)
    if job.evaluation.local_only and job.personalization.personal:
        yield Technique(section="evaluation", name=TRAINED_ALONE.name, gives={}, needs=(TRAINED_ALONE,))


def _clients(job: Any) -> Iterator[Technique]:
    """Yield what of the clients' section others must know, each under the name of its setting."""
    clients, tuning = job.clients, job.tuning
    ranks = {client: own.tuning for client, own in clients.overrides.items() if own.backbone is None}
    others = [
        f"where {client!r} has {name} {getattr(own, name):g} and the others {getattr(tuning, name):g}"
        for client, own in ranks.items()
        for name in ("rank", "alpha")
        if getattr(own, name) is not None and getattr(own, name) != getattr(tuning, name, getattr(own, name))
    ]
    one_rank = True if job.protocol.apart or not others else others[0]
    for name, gives in (
        (f"clients.select: {clients.select}", {"drawn-alike": clients.select == "uniform"}),
        (f"clients.most_weight: {clients.most_weight:g}", {"shares-as-sent": clients.most_weight >= 1}),
        ("clients.overrides of ranks", {"one-rank": one_rank}),
    ):
        yield Technique(section="clients", name=name, gives=gives, needs=())


def task_technique(task: Any) -> Technique:
    """Return a task; what it reads follows from the kind of its backbone."""
    found = technique("task", task)
    if task.backbone not in KINDS or KINDS[task.backbone].of_texts:
        return found
    return Technique(section="task", name=found.name, gives={"tokens": False}, needs=(*USUAL_NEEDS["task"], ANY_MODEL))


def with_usual(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a job with those that its protocol usually has, such as a tuning, where they name none."""
    protocol = settings.get("protocol")
    kind = protocol.get("kind") if isinstance(protocol, Mapping) else getattr(protocol, "kind", protocol)
    usual = PROTOCOLS.get(kind) if isinstance(kind, str) else None
    return dict(settings) if usual is None else {**usual.usual, **settings}
