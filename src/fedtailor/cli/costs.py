"""The estimate of a job as texts: a table of bytes, operations, seconds and memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..assembly import Parts
    from ..federation.auto_ranks import AutoRanks
    from ..planning import Estimate, Memory

Rows = Sequence[Sequence[str]]  # what it is, of a round, of the whole run
NAMES = {
    "train": "training",
    "evaluate": "evaluations",
    "personalize": "personalization",
    "align": "last alignment",
    "alone": "training alone",
}


def estimate_of(parts: "Parts", given: "Estimate | None" = None) -> "Estimate":
    """Return the estimate of a job, as far as it takes no time."""
    from ..planning import counts_of, estimate

    return given or estimate(parts, counts=counts_of(parts, fresh=False))


def cost_rows(parts: "Parts", found: "Estimate") -> Iterator[Sequence[str]]:
    """Yield the rows of the table of costs."""
    from ..units import bytes_text, flops_text, seconds_text

    rounds, work = max(1, found.rounds), "training" if parts.protocol.trains else "scoring"
    for kind, each in found.bytes.items():
        name, repeats = work if kind == "train" else NAMES.get(kind, kind), kind == "train"
        for way, size in (("up", each.up), ("down", each.down)):
            yield f"bytes {way}, {name}", bytes_text(size / rounds) if repeats else "", bytes_text(size)
    yield f"operations, {work}", flops_text(found.flops["train"] / rounds), flops_text(found.flops["train"])
    yield "operations, evaluations", "", flops_text(found.flops["evaluate"] + found.flops["server"])
    for name, seconds in found.seconds.items():
        if seconds is not None:
            yield SECONDS[name], seconds_text(seconds / rounds) if name == "train" else "", seconds_text(seconds)


SECONDS = {
    "train": "seconds of training, all clients",
    "evaluate": "seconds of evaluations, all clients",
    "link": "seconds on the links, all clients",
    "run": "seconds of the run, clients at once",
}


def cost_facts(parts: "Parts", found: "Estimate") -> Iterator[tuple[str, str]]:
    """Yield what there is to say of an estimate beside its table."""
    from ..units import flops_text

    if found.largest is not None:
        client, most = found.largest
        yield "memory", f"{_memory(most.memory)}; the most, at client {client}"
    if found.slowest is not None:
        yield "slowest", _slowest(found)
    if found.speed is not None:
        yield (
            "speed",
            f"{flops_text(found.speed.train)}/s in training, {flops_text(found.speed.evaluate)}/s in evaluation, {found.speed.source}",
        )
    if parts.auto_ranks is not None:
        yield "at most", _at_most(parts, parts.auto_ranks)
    for note in found.notes:
        yield "not in it", note
    if not found.counted and parts.protocol.trains:
        yield (
            "by formula",
            "operations leave attention and the output head out; with --client-memory or --client-flops a step is counted, which takes seconds",
        )


def _at_most(parts: "Parts", chosen: "AutoRanks") -> str:
    """Return what the estimate of a job stands on whose ranks the server chooses, and what the least rank would send."""
    from ..assembly.estimates import message_bytes
    from ..units import bytes_text

    most, least = chosen.ranks[-1], chosen.ranks[0]
    up, down = message_bytes(parts, chosen.at(least).cut(parts.worker.tensors()))
    return (
        f"ranks are chosen before each round: what is estimated is of rank {most} for all, and so an upper bound. At rank {least}, which everybody has until a "
        f"round of it was measured, a client sends {bytes_text(up)} and gets {bytes_text(down)} a round"
    )


def _memory(memory: "Memory") -> str:
    from ..units import bytes_text

    if memory.activations is None:
        return f"about {bytes_text(memory.weights + memory.exchanged)} at a client, the program and activations apart"
    parts = {
        "program": memory.program,
        "weights with gradients and optimizer": memory.weights,
        "what is exchanged": memory.exchanged,
        "activations": memory.activations,
        "at work": memory.working or 0.0,
    }
    said = ", ".join(f"{name} {bytes_text(size)}" for name, size in parts.items() if size)
    return f"about {bytes_text(memory.peak)} at a client: {said}"


def _slowest(found: "Estimate") -> str:
    from ..units import seconds_text

    assert found.slowest is not None
    client, each = found.slowest
    shares: list[tuple[str, float | None, Callable[[float], str]]] = [
        ("computing", each.seconds, seconds_text),
        ("on the link", each.link_seconds, seconds_text),
    ]
    return (
        f"client {client}: "
        + ", ".join(f"{text(value)} {name}" for name, value, text in shares if value is not None)
        + " a round"
    )
