"""Evaluation at the clients: the same in every protocol."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import Tensor

from ..errors import NotFinite
from ..interfaces import Federation
from ..learning.client import ClientState
from ..learning.worker import Worker
from ..personalization import OWN
from ..protection import FactSpec, MessageSpec, specs_of
from ..protection.facts import Part, asked, flag, metrics
from ..records import ClientFailure, ClientId, Fact, Message, Traffic
from ..tasks.shard import Shard
from ..tensors import Tensors

PARTS: tuple[Part, ...] = ("validation", "test")  # of a client's own examples


@dataclass(kw_only=True)
class ClientFigures:
    """What the clients found on their own parts."""

    validation: dict[ClientId, dict[str, float]] = field(default_factory=dict)
    test: dict[ClientId, dict[str, float]] = field(default_factory=dict)
    failures: dict[ClientId, ClientFailure] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)


def ask_evaluation(
    federation: Federation, clients: Iterable[ClientId], message: Message, on_reply: Callable[[ClientId], None]
) -> ClientFigures:
    """Ask each client for the figures of the shared weights on its own parts, and return what came.

    Args:
        message: see `evaluation_request`.
        on_reply: told the client of each reply.
    """
    found = ClientFigures()
    for reply in federation.ask(dict.fromkeys(clients, message)):
        on_reply(reply.client)
        found.traffic = found.traffic + reply.traffic
        if reply.message is None:
            assert reply.error is not None
            found.failures[reply.client] = reply.error
            continue
        for key, value in reply.message.facts.items():
            part, figure = key.split(".", 1)
            store = found.validation if part == "validation" else found.test
            store.setdefault(reply.client, {})[figure] = float(value)  # type: ignore[arg-type]
    return found


def evaluation_request(
    shared: Tensors, *, name: str, generate: bool, own_version: int | None = None, clients: int = 0
) -> Message:
    """Return the request to evaluate `shared` on a client's validation and test parts.

    Args:
        name: of the moment ("before", "after", "round-3"): names the file of texts at the client.
        generate: whether metrics that need generated text are wanted, on the test part.
        own_version: the client's own weights take part, as of so many rounds; None: those that stay home are as drawn at the start.
        clients: of the federation, all, if own weights take part.
    """
    facts: dict[str, Fact] = {"name": name, "parts": ",".join(PARTS), "generate": int(generate)}
    facts |= {} if own_version is None else {"own_version": own_version, "clients": clients}
    return Message(kind="evaluate", tensors=shared, facts=facts)


def answer_evaluation(worker: Worker, state: ClientState, message: Message) -> Message:
    """Return the figures of the weights in place on the client's own parts; texts stay in the client's folder."""
    facts: dict[str, float] = {}
    for part in str(message.facts["parts"]).split(","):
        shard = state.validation if part == "validation" else state.test
        if len(shard):
            generate = bool(message.facts["generate"]) and part == "test"
            facts |= part_figures(worker, state, part, shard, generate=generate, name=str(message.facts["name"]))
    return Message(kind="evaluate", facts=facts)


def part_figures(worker: Worker, state: ClientState, part: str, shard: Shard, *, generate: bool, name: str) -> dict[str, float]:
    """Return the figures of the weights in place on one part, under its name; texts stay in the client's folder.

    Raises:
        NotFinite: if their loss is not finite.
    """
    result = worker.evaluate(shard, generate=generate)
    if not math.isfinite(result.figures["loss"]):
        raise NotFinite(f"the loss on the {part} part is {result.figures['loss']}; try a smaller learning_rate")
    state.write_texts(f"generations-{name}", result.texts)
    return {f"{part}.{figure}": value for figure, value in result.figures.items() if math.isfinite(value)}


def own_of(kept: Tensors) -> dict[str, Tensor]:
    """Return the tensors of its own among what a client kept, by their names."""
    return {name.removeprefix(OWN): value for name, value in kept.items() if name.startswith(OWN)}


def evaluation_specs(shared: Tensors, figures: Iterable[str], *, home: bool = False) -> tuple[MessageSpec, MessageSpec]:
    """Return what an evaluation may send up and down.

    Args:
        figures: names that the task can report.
        home: whether clients have weights of their own that take part.
    """
    own = {
        "own_version": asked("version of the client's own weights that take part", optional=True),
        "clients": asked("clients in all: the shared weights may be the mean of so many", optional=True),
    }
    names = list(figures)
    found = {name: spec for part in PARTS for name, spec in metrics(names, part, f"on the client's own {part} part").items()}
    down = MessageSpec(
        tensors=specs_of(shared),
        facts={
            "name": FactSpec(type="str", purpose="the moment that is evaluated", most_characters=40),
            "parts": FactSpec(type="str", purpose="which of the client's parts to evaluate", most_characters=40),
            "generate": flag("1 if metrics of generated text are wanted"),
        }
        | (own if home else {}),
    )
    return MessageSpec(facts=found), down
