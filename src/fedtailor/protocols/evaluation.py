"""Evaluation at the clients: the same in every protocol."""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from ..diverged import check_loss
from ..errors import NotFinite
from ..interfaces import Federation
from ..learning.client import Client
from ..learning.worker import Worker
from ..messages import Call, FactSpec, Record, read, specs_of, write
from ..messages.facts import MOST_METRIC, Part, asked, metrics, whole
from ..messages.record import Figures, fact, figures, tensors
from ..metrics.figure import SAMPLE_LOSS
from ..records import ClientFailure, ClientId, Fact, Message, Traffic
from ..tasks.shard import Shard
from ..tensors import Tensors

PARTS: tuple[Part, ...] = ("validation", "test")  # of a client's own examples
BEFORE = "before"  # the moment at which the backbone as it is is evaluated, whatever the tuning begins with
TEXTS_ALONE = 2  # the value of "generate" where no losses are wanted


@dataclass(frozen=True, kw_only=True)
class Evaluate(Record, kind="evaluate"):
    """Weights to measure on a client's own parts."""

    name: str = fact(FactSpec(type="str", purpose="the moment that is evaluated", most_characters=40))
    parts: str = fact(FactSpec(type="str", purpose="which of the client's parts to evaluate", most_characters=40))
    generate: int = fact(whole("1 if metrics of generated text are wanted, 2 if they alone", most=TEXTS_ALONE))
    own_version: int | None = fact(asked("version of the client's own weights that take part", optional=True))
    clients: int | None = fact(asked("clients in all: the shared weights may be the mean of so many", optional=True))
    shared: Tensors = tensors()


@dataclass(frozen=True, kw_only=True)
class Evaluated(Record, kind="evaluate"):
    """What a client measured."""

    measured: Figures = figures()


@dataclass(kw_only=True)
class ClientFigures:
    """What the clients found on their own parts."""

    validation: dict[ClientId, dict[str, Any]] = field(default_factory=dict)  # numbers, and lists of counts
    test: dict[ClientId, dict[str, Any]] = field(default_factory=dict)
    failures: dict[ClientId, ClientFailure] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)


def ask_evaluation(
    federation: Federation, requests: Mapping[ClientId, Message], on_reply: Callable[[ClientId], None]
) -> ClientFigures:
    """Ask each client for the figures of the shared weights on its own parts, and return what came.

    Args:
        requests: see `evaluation_request`.
        on_reply: called with the client of each reply.
    """
    found = ClientFigures()
    for reply in federation.ask(requests):
        on_reply(reply.client)
        found.traffic = found.traffic + reply.traffic
        if reply.message is None:
            assert reply.error is not None
            found.failures[reply.client] = reply.error
            continue
        measured = read(reply.message, Evaluated).measured
        if any(isinstance(value, float) and not math.isfinite(value) for part in measured.values() for value in part.values()):
            # it would decide when to stop, and which round is best
            found.failures[reply.client] = ClientFailure(kind="not-finite", mark=NotFinite.__name__)
            continue
        for part, store in (("validation", found.validation), ("test", found.test)):
            if part in measured:
                store[reply.client] = dict(measured[part])
    return found


def evaluation_request(
    shared: Tensors,
    *,
    name: str,
    generate: bool,
    own_version: int | None = None,
    clients: int = 0,
    texts_alone: bool = False,
) -> Message:
    """Return the request to evaluate `shared` on a client's validation and test parts.

    Args:
        name: of the moment ("before", "after", "round-3"): names the file of texts at the client.
        generate: whether metrics that need generated text are wanted, on the test part.
        own_version: the client's own weights take part, as of so many rounds; None: those that stay home are as drawn at the start.
        clients: of the federation, all, if own weights take part.
        texts_alone: whether the losses of these weights are known, and only texts are wanted.
    """
    request = Evaluate(
        name=name,
        parts=",".join(("test",) if texts_alone else PARTS),
        generate=TEXTS_ALONE if texts_alone else int(generate),
        own_version=own_version,
        clients=None if own_version is None else clients,
        shared=shared,
    )
    return write(request)


def answer_evaluation(client: Client, asked: Evaluate) -> Evaluated:
    """Return the figures of the weights in place on the client's own parts, before round 1 of the backbone alone; texts stay in the client's folder."""
    measured: dict[str, Mapping[str, Any]] = {}
    texts_alone = asked.generate == TEXTS_ALONE
    worker = client.worker
    with worker.untrained() if asked.name == BEFORE else nullcontext(worker) as evaluates:
        for part in asked.parts.split(","):
            shard, generate = client.validation if part == "validation" else client.test, asked.generate > 0 and part == "test"
            if len(shard):
                measured[part] = part_figures(
                    evaluates, client, part, shard, generate=generate, name=asked.name, texts_alone=texts_alone
                )
    return Evaluated(measured=measured)


def part_figures(
    worker: Worker, client: Client, part: str, shard: Shard, *, generate: bool, name: str, texts_alone: bool = False
) -> dict[str, Fact]:
    """Return the figures of the weights in place on one part; texts stay in the client's folder.

    A metric that is larger than can be reported says nothing and is left out, such as the perplexity per word of a model that has not learned.
    Counts that metrics are made of go with the part that the figures over all clients are of: a client's test part, if it has one.

    Raises:
        Diverged: if their loss is not finite, or larger than can be reported.
    """
    result = worker.evaluate(shard, generate=generate, texts_alone=texts_alone, train=client.train if generate else None)
    check_loss(f"{part} loss", result.figures.get("loss", 0.0))
    if part == "test":
        client.store.write_texts(f"generations-{name}", result.texts)
    facts: dict[str, Fact] = {figure: value for figure, value in result.figures.items() if abs(value) <= MOST_METRIC}
    if part == "validation" and result.losses is not None and result.losses.sample_loss is not None:
        check_loss(f"{part} loss", result.losses.sample_loss)
        facts[SAMPLE_LOSS] = result.losses.sample_loss
    if part == "test" or (part == "validation" and not len(client.test)):
        facts |= {figure: list(counts) for figure, counts in result.counts.items()}
    return facts


def evaluation_call(shared: Tensors, figures: Iterable[str], *, home: bool = False) -> Call:
    """Return the call of an evaluation.

    Args:
        shared: the weights that go down.
        figures: names that the task can report.
        home: whether clients have weights of their own that take part.
    """
    names = list(figures)
    return Call(
        question=Evaluate,
        answers=(Evaluated,),
        forms={"shared": specs_of(shared)},
        specs={name: spec for part in PARTS for name, spec in metrics(names, part, f"on the client's own {part} part").items()},
        without=frozenset(() if home else ("own_version", "clients")),
    )
