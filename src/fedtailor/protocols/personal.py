"""After the rounds: each client makes its weights its own, keeps them, and reports how good they are.

The shared weights go down once more; nothing but figures comes up.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from ..diverged import check_loss
from ..interfaces import Federation
from ..learning.client import Client
from ..learning.sheets import write_sheet, writes_sheet
from ..learning.work import Working
from ..learning.worker import Spent
from ..messages import Call, Record, read, result_of, specs_of, write
from ..messages.facts import asked, flag
from ..messages.record import fact, tensors
from ..messages.work import PARTS, RETAINED, Work, figure_specs
from ..personalization import Personal, Personalization, Turn
from ..records import ClientFailure, ClientId, Message, Traffic
from ..tasks.shard import Shard
from ..tensors import Tensors, check_finite
from ..tuning import written
from .evaluation import part_figures

KIND = "personalize"


@dataclass(frozen=True, kw_only=True)
class Personalize(Record, kind=KIND):
    """The shared weights, to end with weights of its own that start from them."""

    version: int = fact(asked("rounds behind the server"))
    generate: int = fact(flag("1 if metrics of generated text are wanted"))
    clients: int = fact(asked("clients in all: the shared weights may be the mean of so many"))
    shared: Tensors = tensors()


@dataclass(frozen=True, kw_only=True)
class Personalized(Work, kind=KIND):
    """What making them its own took, and how good they are."""

    kept: int = fact(
        flag("1 if the client has weights of its own, 0 if the shared ones were no worse or it was never asked to train")
    )


W = TypeVar("W", bound=Work)


@dataclass(kw_only=True)
class PersonalFigures(Generic[W]):
    """What the clients found of their personal weights."""

    parts: dict[str, dict[ClientId, dict[str, Any]]] = field(default_factory=lambda: {part: {} for part in (*PARTS, RETAINED)})
    work: dict[ClientId, W] = field(default_factory=dict)
    failures: dict[ClientId, ClientFailure] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)


def personal_request(shared: Tensors, *, version: int, generate: bool, clients: int) -> Message:
    """Return the request to end with weights of its own, which start from `shared`.

    Args:
        version: rounds behind the server: which of a client's own weights belong to the end.
        generate: whether metrics that need generated text are wanted, on the client's own test part.
        clients: of the federation, all.
    """
    return write(Personalize(version=version, generate=int(generate), clients=clients, shared=shared))


def ask_personal(
    federation: Federation, clients: Iterable[ClientId], message: Message, form: type[W], on_reply: Callable[[ClientId], None]
) -> PersonalFigures[W]:
    """Ask each client once to train for itself, and return the figures that came.

    Args:
        message: see `personal_request` and `alone_request`.
        form: of the answers.
        on_reply: called with the client of each reply.
    """
    found = PersonalFigures[W]()
    for reply in federation.ask(dict.fromkeys(clients, message)):
        on_reply(reply.client)
        found.traffic = found.traffic + reply.traffic
        if reply.message is None:
            assert reply.error is not None
            found.failures[reply.client] = reply.error
            continue
        found.work[reply.client] = answer = read(reply.message, form)
        for part, measured in answer.measured.items():
            found.parts[part][reply.client] = dict(measured)
    return found


def answer_personal(technique: Personalization, turn: Turn, *, public: Shard | None, generate: bool) -> Working[Personalized]:
    """Let the technique finish at one client, keep the result in its folder, and return its figures.

    Args:
        public: the public test set, which anybody may know; texts are not generated for it.
        generate: whether metrics of generated text are wanted on the client's own test part.

    Raises:
        NotFinite: if the weights or their loss are not finite.
    """
    worker = turn.worker
    measured = worker.peak.reset()
    finishing = Spent(worker)
    personal: Personal = yield from result_of(technique.finish(turn))
    seconds = finishing.working
    peak = worker.peak.read() if measured else None
    check_finite({**personal.shared, **personal.home}, "personal weights")
    worker.load(personal.shared, home=personal.home)
    mixture = personal.mixture
    with nullcontext() if mixture is None else mixture.placed():
        figures = measure_parts(turn.client, public, generate=generate, name="personal")
    worker.load(personal.shared, home=personal.home)
    if generate and writes_sheet(worker):
        _write_sheets(turn, personal)
    save = partial(worker.tuning.save, worker.model) if mixture is None else mixture.save
    turn.client.store.write_model(save, written(worker.tuning).folder)
    return Personalized(
        # who never trained has nothing of its own, unless the technique says otherwise
        kept=int(bool(turn.kept or turn.done) if personal.kept is None else personal.kept),
        seconds=seconds,
        steps=sum(len(trained.losses) for trained in turn.done),
        tokens=sum(trained.tokens for trained in turn.done),
        peak_bytes=peak,
        evaluation_seconds=finishing.evaluating,
        measured=figures,
    )


def _write_sheets(turn: Turn, personal: Personal) -> None:
    """Write what the client's own weights make, and the shared ones from the same noise, to its folder; its own are left in place."""
    worker, client = turn.worker, turn.client
    with nullcontext() if personal.mixture is None else personal.mixture.placed():
        client.store.write_file("samples-personal.png", partial(write_sheet, worker, client.test))
    worker.load(turn.shared, home=personal.home)
    client.store.write_file("samples-shared.png", partial(write_sheet, worker, client.test))
    worker.load(personal.shared, home=personal.home)


def measure_parts(client: Client, public: Shard | None, *, generate: bool, name: str) -> dict[str, Mapping[str, Any]]:
    """Return the figures of the weights in place on each of PARTS that has examples, and the loss on general text, if there is any.

    Args:
        generate: whether metrics of generated text are wanted on the client's own test part; the texts stay in its folder.
        name: of the moment: names the file of texts.

    Raises:
        NotFinite: if a loss is not finite.
    """
    shards = {"validation": client.validation, "test": client.test, "public": public}
    found: dict[str, Mapping[str, Any]] = {
        part: part_figures(client.worker, client, part, shard, generate=generate and part == "test", name=name)
        for part, shard in shards.items()
        if shard is not None and len(shard)
    }
    if client.retained is not None:
        loss = client.retained.loss(client.worker)
        check_loss("loss on general text", loss)
        found[RETAINED] = {"loss": loss}
    return found


def personal_call(shared: Tensors, figures: Iterable[str], *, retained: bool = False) -> Call:
    """Return the call of this phase; `figures` are the names that the task can report, `retained` whether general text is measured."""
    return Call(
        question=Personalize,
        answers=(Personalized,),
        forms={"shared": specs_of(shared)},
        specs=figure_specs(figures, "of the personal weights", retained=retained),
        trains="once",
    )


def personal_length(shared: Tensors) -> int:
    """Return the bytes of the message that gives a client the shared weights to make them its own."""
    return personal_call(shared, ()).length_of(Personalize(version=10, generate=1, clients=10))
