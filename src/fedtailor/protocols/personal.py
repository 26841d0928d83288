"""After the rounds: each client makes its weights its own, keeps them, and tells how good they are.

The shared weights go down once more; nothing but figures comes up.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..interfaces import Federation
from ..learning.client import ClientState
from ..learning.worker import Spent, Worker
from ..messages import FactSpec, MessageSpec, length_of, specs_of
from ..messages.facts import PEAK, Part, asked, flag, metrics, seconds, whole
from ..personalization import Personalization, Turn
from ..records import ClientFailure, ClientId, Fact, Message, Traffic
from ..tasks.shard import Shard
from ..tensors import Tensors, check_finite
from ..tuning import written
from .evaluation import part_figures

KIND = "personalize"
PARTS: Mapping[Part, str] = {
    "validation": "on the client's own validation part",
    "test": "on the client's own test part",
    "public": "on the public test set",
}
WORK_FACTS = {
    "steps": whole("optimizer steps taken"),
    "tokens": whole("tokens seen: operations are counted from it"),
    "seconds": seconds("time that training for itself took"),
    "evaluation_seconds": replace(seconds("time that evaluations took"), optional=True),
    "peak_bytes": PEAK,
}
PERSONAL_FACTS = WORK_FACTS | {
    "kept": flag(
        "1 if the client has weights of its own, 0 if the shared ones were no worse or it was never asked to train",
    ),
}


@dataclass(kw_only=True)
class PersonalFigures:
    """What the clients found of their personal weights."""

    parts: dict[str, dict[ClientId, dict[str, Any]]] = field(default_factory=lambda: {part: {} for part in PARTS})
    work: dict[ClientId, dict[str, Any]] = field(default_factory=dict)  # PERSONAL_FACTS
    failures: dict[ClientId, ClientFailure] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)


def personal_request(shared: Tensors, *, version: int, generate: bool, clients: int) -> Message:
    """Return the request to end with weights of its own, which start from `shared`.

    Args:
        version: rounds behind the server: which of a client's own weights belong to the end.
        generate: whether metrics that need generated text are wanted, on the client's own test part.
        clients: of the federation, all.
    """
    return Message(kind=KIND, tensors=shared, facts={"version": version, "generate": int(generate), "clients": clients})


def ask_personal(
    federation: Federation, clients: Iterable[ClientId], message: Message, on_reply: Callable[[ClientId], None]
) -> PersonalFigures:
    """Ask each client once to train for itself, and return the figures that came.

    Args:
        message: see `personal_request` and `alone_request`.
        on_reply: told the client of each reply.
    """
    found = PersonalFigures()
    for reply in federation.ask(dict.fromkeys(clients, message)):
        on_reply(reply.client)
        found.traffic = found.traffic + reply.traffic
        if reply.message is None:
            assert reply.error is not None
            found.failures[reply.client] = reply.error
            continue
        found.work[reply.client] = {}
        for key, value in reply.message.facts.items():
            part, _, figure = key.partition(".")
            store = found.parts[part].setdefault(reply.client, {}) if figure else found.work[reply.client]
            store[figure or key] = value if isinstance(value, list) else float(value)
    return found


def answer_personal(technique: Personalization, turn: Turn, *, public: Shard | None, generate: bool) -> Message:
    """Let the technique finish at one client, keep the result in its folder, and return its figures.

    Args:
        public: the public test set, which anybody may be told; texts are not generated for it.
        generate: whether metrics of generated text are wanted on the client's own test part.

    Raises:
        NotFinite: if the weights or their loss are not finite.
    """
    worker, state = turn.worker, turn.state
    measured = worker.peak.reset()
    finishing = Spent(worker)
    personal = technique.finish(turn)
    facts: dict[str, Fact] = {
        "kept": int(
            bool(turn.kept or turn.done)
        ),  # unless the technique says otherwise: who never trained has nothing of its own
        **personal.facts,
        "seconds": finishing.working,
        "steps": sum(len(trained.losses) for trained in turn.done),
        "tokens": sum(trained.tokens for trained in turn.done),
    }
    facts |= {"peak_bytes": worker.peak.read()} if measured else {}
    check_finite({**personal.shared, **personal.home}, "personal weights")
    worker.load(personal.shared, home=personal.home)
    mixture = personal.mixture
    with nullcontext() if mixture is None else mixture.placed():
        facts |= measure_parts(worker, state, public, generate=generate, name="personal")
    worker.load(personal.shared, home=personal.home)
    save = partial(worker.tuning.save, worker.model) if mixture is None else mixture.save
    state.write_model(save, written(worker.tuning).folder)
    facts["evaluation_seconds"] = finishing.evaluating
    return Message(kind=KIND, facts=facts)


def measure_parts(worker: Worker, state: ClientState, public: Shard | None, *, generate: bool, name: str) -> dict[str, Fact]:
    """Return the figures of the weights in place on each of PARTS, as PART.FIGURE.

    Args:
        generate: whether metrics of generated text are wanted on the client's own test part; the texts stay in its folder.
        name: of the moment: names the file of texts.

    Raises:
        NotFinite: if a loss is not finite.
    """
    facts: dict[str, Fact] = {}
    for part, shard in (("validation", state.validation), ("test", state.test), ("public", public)):
        if shard is not None and len(shard):
            facts |= part_figures(worker, state, part, shard, generate=generate and part == "test", name=name)
    return facts


def personal_specs(shared: Tensors, figures: Iterable[str]) -> tuple[MessageSpec, MessageSpec]:
    """Return what this phase may send up and down; `figures` are the names that the task can report."""
    down = MessageSpec(
        tensors=specs_of(shared),
        facts={
            "version": asked("rounds behind the server"),
            "generate": flag("1 if metrics of generated text are wanted"),
            "clients": asked("clients in all: the shared weights may be the mean of so many"),
        },
        trains="once",
    )
    return MessageSpec(facts=PERSONAL_FACTS | figure_specs(figures, "of the personal weights")), down


def personal_length(shared: Tensors) -> int:
    """Return the bytes of the message that gives a client the shared weights to make them its own."""
    return length_of(KIND, specs_of(shared), {"version": 10, "generate": 1, "clients": 10})


def figure_specs(figures: Iterable[str], whose: str) -> dict[str, FactSpec]:
    """Return the specs of what `measure_parts` reports; `whose` goes into their purpose."""
    names = list(figures)
    return {name: spec for part, where in PARTS.items() for name, spec in metrics(names, part, f"{whose} {where}").items()}
