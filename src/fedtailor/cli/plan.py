"""What there is to see before a run: the settings, the clients, what leaves them, what it will cost."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .costs import cost_facts, cost_rows, estimate_of

if TYPE_CHECKING:
    from ..assembly import Parts
    from ..job import Job
    from ..planning import Estimate

MOST_CLIENTS = 30  # shown one by one
MOST_NAMED = 3  # clients of one task
TEXTS = {"passages", "answers"}  # what a fact may reveal that is text of a client

Facts = Sequence[Sequence[str]]  # name and text of each


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that `fedtailor check` prints, as texts; what a JSON file keeps is equal to it."""

    name: str
    settings: Facts
    clients: Sequence[
        Sequence[str]
    ]  # a row a client: its name, examples to train, validate and test with, steps and bytes up a round
    more_clients: int  # that have no row
    leaving: Facts
    costs: Facts  # rows of a table: what it is, of a round, of the whole run
    estimated: Facts
    exceeded: Sequence[str]  # what is more than clients have, and what would help
    advised: Sequence[str]  # what would save something
    notes: Sequence[str]
    numbers: Mapping[str, Any]  # the estimate as plan.json has it


def plan_of(job: "Job", parts: "Parts", notes: Sequence[str], estimate: "Estimate | None" = None) -> Plan:
    """Return what there is to see of a job that was assembled.

    Args:
        estimate: what it will cost; left out: as far as that takes no time.
    """
    from ..planning.advice import remarks

    found = estimate_of(parts, estimate)
    said = remarks(parts, found)
    return Plan(
        name=job.name,
        settings=[*_settings(job, parts)],
        clients=[*_clients(parts, found)],
        more_clients=max(0, len(parts.clients) - MOST_CLIENTS),
        leaving=[*_leaving(parts)],
        costs=[*cost_rows(parts, found)],
        estimated=[*_estimated(job, parts, found)],
        exceeded=[remark.text for remark in said if remark.exceeds],
        advised=[remark.text for remark in said if not remark.exceeds],
        notes=notes,
        numbers=found.to_dict(),
    )


def _settings(job: "Job", parts: "Parts") -> Iterator[tuple[str, str]]:
    from ..report.wording import plural
    from ..units import scaled

    settings, sizes, whole = job.to_dict(), parts.clients.alike.sizes, parts.backbone.parameters
    validation, test = len(parts.server_validation), len(parts.server_test)
    weights = scaled(whole, "", ["", "k", "M", "G"])
    yield "backbone", f"{job.backbone}, {weights} weights, {parts.precision} on {parts.worker.device}"
    yield "sha256", parts.backbone.hashes.get("weights", "")
    for client, own in parts.clients.backbones.items():
        yield f"of {client}", f"{own.name}, {scaled(own.parameters, '', ['', 'k', 'M', 'G'])} weights"
    yield "task", settings["task"]["kind"]
    for name, clients in _clients_of_tasks(job).items():
        yield f"of {', '.join(clients[:MOST_NAMED])}{' and others' * (len(clients) > MOST_NAMED)}", name
    ranks = settings["tuning"].get("ranks")
    chosen = f"rank chosen for each client and round of {', '.join(map(str, ranks))}, at most " if ranks else ""
    yield "tuning", f"{settings['tuning']['kind']}, {chosen}{sizes.trained:,} weights trained ({sizes.trained / whole:.2%})"
    if parts.protocol.trains:
        yield "learning rate", _learning_rate(job, parts)
        given = parts.protocol.aggregation is job.protocol.aggregation  # else the personalization brings its own
        rule = settings["protocol"]["aggregation"]["kind"] if given else getattr(parts.protocol.aggregation, "kind", "")
        yield "protocol", f"{settings['protocol']['kind']}, {rule}"
    yield from parts.protocol.says()
    yield "personalization", settings["personalization"]["kind"]
    yield from _protection(job, parts)
    yield "clients", _likeness(parts)
    if parts.protocol.evaluates:
        yield "validation", f"{validation:,} examples of a file" if validation else "a share of each client's own examples"
        yield "test set", f"{test:,} public examples" if test else "each client's own held-out part"
    if (text := parts.clients.retained) is not None:
        yield "general text", f"{text.counted:,} tokens in {plural(text.texts, 'row')} of {job.evaluation.retained}"


def _clients_of_tasks(job: "Job") -> dict[str, list[str]]:
    """Return the clients of each task that is not the job's, by what the task is called."""
    from ..assembly.own_tasks import task_names

    found: dict[str, list[str]] = {}
    for client, name in task_names(job).items():
        found.setdefault(name, []).append(client)
    return found


def _protection(job: "Job", parts: "Parts") -> Iterator[tuple[str, str]]:
    """Yield what protects clients, and what a run of all planned rounds spends of its privacy budget."""
    if job.protection:
        yield "protection", ", ".join(str(part["kind"]) for part in job.to_dict()["protection"])
    if parts.budget is not None:
        yield from parts.budget.says(parts.job.stop.rounds)


def _learning_rate(job: "Job", parts: "Parts") -> str:
    from ..models.kinds import kind_of

    auto = (
        f" (auto: usual for this tuning of {kind_of(job.task.backbone).title})"
        if job.protocol.local.learning_rate == "auto"
        else ""
    )
    local = parts.protocol.local
    head = f", of the head {local.head_learning_rate:g}" if isinstance(local.head_learning_rate, int | float) else ""
    return f"{local.peak_learning_rate:g}{head}{auto}"


def _clients(parts: "Parts", found: "Estimate") -> Iterator[Sequence[str]]:
    from ..units import bytes_text

    for client, has in list(parts.clients.amounts.items())[:MOST_CLIENTS]:
        cost = found.clients.get(client)
        counts = [f"{amount:,}" for amount in (has.train, has.validation, has.test)]
        steps = f"{parts.protocol.local.steps_per_round(has.train):,}" if parts.protocol.trains else "–"
        yield client, *counts, steps, bytes_text(cost.up_bytes) if cost else "–"


def _likeness(parts: "Parts") -> str:
    """Return how far the clients' data differ."""
    divided, count = parts.divided, len(parts.clients)
    if divided.divergence is None:
        return f"{count}"
    over = f" over {divided.divergence_over}" if divided.divergence_over else ""
    return f"{count}; their data differ by {divided.divergence:.3f} (Jensen-Shannon{over}: 0 alike, 1 disjoint)"


def _leaving(parts: "Parts") -> Iterator[tuple[str, str]]:
    """Yield, per kind of message, exactly what may leave a client."""
    from ..report.wording import plural

    for kind, spec in parts.manifest.up.items():
        tensors = Counter(tensor.dtype for tensor in spec.tensors.values())
        values = sum(_size(tensor.shape, parts.manifest.sizes) for tensor in spec.tensors.values())
        what = [f"{plural(count, f'{dtype} tensor')} ({values:,} values)" for dtype, count in tensors.items()]
        what += [_fact_names(spec.facts)] if spec.facts else []
        yield f"leaves: {kind}", "; ".join(what) or "nothing"
    of_clients = {spec.revealed for message in parts.manifest.up.values() for spec in message.facts.values()} & TEXTS
    kept = "what the clients' texts hold beyond that" if of_clients else "examples, texts generated from them"
    yield "never leaves", f"{kept}, and anything that is not listed here"


def _fact_names(names: Iterable[str]) -> str:
    """Return names of facts; those that begin alike stand together."""
    groups: dict[str, list[str]] = {}
    for name in names:
        group, dot, fact = name.rpartition(".")
        groups.setdefault(f"{group}{dot}", []).append(fact)
    return "; ".join(f"of {group[:-1]}: {', '.join(facts)}" if group else ", ".join(facts) for group, facts in groups.items())


def _estimated(job: "Job", parts: "Parts", found: "Estimate") -> Iterator[tuple[str, str]]:
    count = len(found.clients)
    asked = (
        f"{parts.sampler.per_round} of {count} clients"
        if parts.budget is None or parts.budget.coin is None
        else f"each of {count} clients with probability {parts.budget.coin:.3g}, drawn in secret"
    )
    yield "asked a round", f"{asked}, for {found.rounds} rounds at most"
    tokens = sum(parts.clients.amounts[info.id].tokens for info in parts.sampler.clients)
    yield from parts.protocol.estimates(parts.worker.tensors(), rounds=job.stop.rounds, clients=count, tokens=tokens)
    yield from cost_facts(parts, found)


def _size(shape: tuple[int | str, ...], sizes: Mapping[str, int]) -> int:
    product = 1
    for size in shape:
        product *= sizes[size] if isinstance(size, str) else size
    return product
