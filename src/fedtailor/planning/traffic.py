"""How many bytes each kind of message takes in a whole run."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cache, partial

from ..assembly import Parts
from ..assembly import estimate as costs_of_round
from ..assembly.calls import shaped
from ..messages import Call
from ..messages.work import RETAINED, figure_specs
from ..metrics.figure import COUNTS, METRICS, NEAREST, OF_COUNTS, SAMPLE_LOSS, counts_of
from ..personalization import goes_with_last_round
from ..protocols import alone
from ..protocols.evaluation import PARTS, TEXTS_ALONE, Evaluate, Evaluated, evaluation_call
from ..protocols.personal import KIND as PERSONALIZE
from ..protocols.personal import Personalized, personal_call
from ..records import ClientId, Fact
from ..tasks.asked import labels_in
from ..tasks.evaluate import figure_names, metrics_of
from ..tasks.task import Writes

TRAIN, EVALUATE = "train", "evaluate"


@dataclass(frozen=True, kw_only=True)
class Bytes:
    """Bytes of one kind of message, of all clients together."""

    up: float = 0.0
    down: float = 0.0
    exchanges: float = 0.0

    def __add__(self, other: "Bytes") -> "Bytes":
        return Bytes(up=self.up + other.up, down=self.down + other.down, exchanges=self.exchanges + other.exchanges)

    def __mul__(self, factor: float) -> "Bytes":
        return Bytes(up=self.up * factor, down=self.down * factor, exchanges=self.exchanges * factor)


def asked_in(parts: Parts, rounds: int) -> dict[ClientId, float]:
    """Return in how many of the first `rounds` rounds each client is asked; on average where it is drawn in secret."""
    sampler, count = parts.sampler, len(parts.sampler.clients)
    if sampler.coins is not None or sampler.per_round >= count:
        share = 1.0 if sampler.coins is None else sampler.per_round / max(1, count)
        return {info.id: rounds * share for info in sampler.clients}
    found = dict.fromkeys((info.id for info in sampler.clients), 0.0)
    for index in range(1, rounds + 1):
        for client in sampler.draw(index):
            found[client] += 1
    return found


@dataclass(frozen=True, kw_only=True)
class Moments:
    """How often clients are asked for figures in a run."""

    whole: int  # on validation and test parts
    writing: int  # of these, with texts
    texts_alone: int  # for the texts of weights whose losses are known


def moments_of(parts: Parts, rounds: int) -> Moments:
    """Return the evaluations of a run of so many rounds: before the first, after each that is evaluated, and of the weights that are kept."""
    if not parts.protocol.evaluates:
        return Moments(whole=0, writing=0, texts_alone=0)
    job, every = parts.job, parts.job.evaluation.every
    texts = parts.made_at_clients
    always = texts and job.evaluation.generate_at == "always"
    judged = len({*range(every, rounds + 1, every), rounds} - {0}) if parts.protocol.validated else 0
    last_apart = not judged or (
        parts.goes_with_last_round and not parts.protocol.own_models
    )  # other weights than those that were judged
    ends = 1 + int(last_apart)
    return Moments(
        whole=judged + ends,
        writing=texts * (ends + (judged if always else 0)),
        texts_alone=int(texts and not last_apart and not always),
    )


def traffic_of(parts: Parts, rounds: int) -> dict[str, Bytes]:
    """Return the bytes of each kind of message in a run of so many rounds, all clients together.

    They are those of encoded messages, but for the digits of numbers. Messages of secure aggregation beside the updates are not among them.
    """
    costs, asked = costs_of_round(parts), asked_in(parts, rounds)
    found = {
        TRAIN: sum(
            (Bytes(up=cost.up_bytes, down=cost.down_bytes, exchanges=1) * asked[client] for client, cost in costs.items()),
            Bytes(),
        )
    }
    if parts.protocol.evaluates:
        found[EVALUATE] = _evaluations(parts, moments_of(parts, rounds))
    clients = [info.id for info in parts.sampler.clients]
    if parts.job.personalization.personal:
        found[PERSONALIZE] = _personal(parts, clients)
        if alone.KIND in parts.manifest.down:
            found[alone.KIND] = _alone(parts, clients, rounds)
    if (last := parts.protocol.last) is not None:
        down = last.length(parts.worker.tensors(), rounds=rounds)
        work = _work_lengths(parts, Personalized)  # figures of the same parts
        found[last.form.kind] = sum((Bytes(up=work(client), down=down, exchanges=1) for client in clients), Bytes())
    for phase in parts.job.after:
        for call in phase.calls(parts.worker.tensors(), _names(parts)):
            found[call.question.kind] = _asked_once(shaped(parts.job, call)) * len(clients)
    return found


def _asked_once(call: Call) -> Bytes:
    """Return the bytes of one request and the longest of the answers that it may get."""
    return Bytes(up=max(map(call.length, call.answers)), down=call.length(call.question), exchanges=1)


def _evaluations(parts: Parts, moments: Moments) -> Bytes:
    call, total = _evaluation_call(parts), Bytes()
    own = parts.protocol.own_models or (parts.goes_with_last_round and parts.protocol.validated)
    asked = Evaluate(
        name="round-10", parts=",".join(PARTS), generate=0, own_version=1 if own else None, clients=10 if own else None
    )
    down = call.length_of(asked)
    again = call.length_of(replace(asked, name="after", parts="test", generate=TEXTS_ALONE))
    figures = cache(partial(_figures_length, parts, call))  # of thousands of clients most report the same
    for client in parts.measured:
        makes, have = parts.makes(client), _parts_of(parts, client)
        more = (
            0
            if parts.protocol.own_models
            else parts.clients.sizes_of(client).shared_bytes - parts.clients.alike.sizes.shared_bytes
        )
        plain, with_texts, texts = (
            figures(_like(parts, client), have, texts=texts and makes, losses=losses)
            for texts, losses in ((False, True), (True, True), (True, False))
        )
        total += Bytes(up=plain, down=down + more, exchanges=1) * (moments.whole - moments.writing)
        total += Bytes(up=with_texts, down=down + more, exchanges=1) * moments.writing
        total += Bytes(up=texts, down=again + more, exchanges=1) * (moments.texts_alone if makes and "test" in have else 0)
    return total


def _evaluation_call(parts: Parts) -> Call:
    own = bool(parts.worker.home) or parts.protocol.own_models or goes_with_last_round(parts.job.personalization)
    names = _names(parts)
    shared = {} if parts.protocol.own_models else parts.protocol.measured(parts.worker.tensors())
    return shaped(parts.job, evaluation_call(shared, names, home=own))


def _names(parts: Parts) -> list[str]:
    """Return the names of all figures that clients may report, of whatever task each has."""
    workers = (parts.worker, *(own.worker for own in parts.clients.differing.values()))
    tasks = {(id(each.task), id(each.evaluation)): figure_names(each.task, each.evaluation) for each in workers}
    return list(dict.fromkeys(name for names in tasks.values() for name in names))


def _like(parts: Parts, client: ClientId) -> ClientId | None:
    """Return the client whose task and evaluation one has: itself where it differs, and None where they are the job's."""
    return client if client in parts.clients.differing else None


def _parts_of(parts: Parts, client: ClientId | None) -> tuple[str, ...]:
    """Return the parts that a client has examples in to measure on; both of one that is not known here."""
    has = None if client is None else parts.clients.amounts.get(client)
    return tuple(part for part in PARTS if has is None or getattr(has, part))


def _figures_length(parts: Parts, call: Call, like: ClientId | None, have: tuple[str, ...], *, texts: bool, losses: bool) -> int:
    """Return the bytes of a client's figures, of the parts that it has."""
    names = call.spec(Evaluated).facts
    facts: dict[str, Fact | None] = dict.fromkeys(names)
    for part in (part for part in have if losses or part == "test"):
        mine = _reported(parts, like, texts=texts and part == "test", losses=losses, counts=part == "test" or "test" not in have)
        facts |= {f"{part}.{name}": value for name, value in mine.items() if f"{part}.{name}" in names}
    return call.length(Evaluated, only=None, **facts)


def _reported(parts: Parts, like: ClientId | None, *, texts: bool, losses: bool, counts: bool) -> dict[str, Fact]:
    """Return figures of usual length that an evaluation of one part reports."""
    worker = parts.worker if like is None else parts.clients.own_of(like).worker
    task, evaluation = worker.task, worker.evaluation
    asked = metrics_of(task, evaluation)
    writes = isinstance(task, Writes)  # else the same metrics come with the losses
    of_texts = {name for name, metric in METRICS.items() if (metric.of_texts and writes) or metric.of_pictures} | {
        "texts",
        "samples",
        *NEAREST,
    }
    found: dict[str, Fact] = {}
    for name in figure_names(task, evaluation):
        plain = name.removesuffix(OF_COUNTS)
        if (plain in of_texts and not texts) or (plain not in of_texts and not losses) or name == SAMPLE_LOSS:
            continue
        if plain in of_texts and plain in METRICS and plain not in asked:
            continue
        if name.endswith(OF_COUNTS):
            length = counts_of(len(labels_in(task)))[name]
            found |= {name: [10] * length} if counts else {}
        else:
            found[name] = 100 if name in COUNTS else 1.2345678901234567
    return found


def _personal(parts: Parts, clients: Collection[ClientId]) -> Bytes:
    up, down = _work_lengths(parts, Personalized), parts.clients.sizes_of
    return sum((Bytes(up=up(client), down=down(client).shared_bytes, exchanges=1) for client in clients), Bytes())


def _alone(parts: Parts, clients: Collection[ClientId], rounds: int) -> Bytes:
    call = shaped(parts.job, alone.alone_call(parts.worker.tensors(), _names(parts)))
    down, up = call.length_of(alone.TrainAlone(rates=[1.0] * rounds, keep_best=1)), _work_lengths(parts, alone.TrainedAlone)
    return sum((Bytes(up=up(client), down=down, exchanges=1) for client in clients), Bytes())


def _work_lengths(parts: Parts, form: type[Personalized] | type[alone.TrainedAlone]) -> Callable[[ClientId], int]:
    """Return what gives the bytes of a client's report of work beside the rounds: a few numbers, and figures of the parts that it measured on."""
    figures, retained = _names(parts), parts.clients.retained is not None
    call = (personal_call if form is Personalized else alone.alone_call)({}, figures, retained=retained)

    @cache
    def length(like: ClientId | None, have: tuple[str, ...], makes: bool) -> int:
        facts: dict[str, Fact | None] = dict.fromkeys(figure_specs(figures, "", retained=retained))
        facts |= {f"{RETAINED}.loss": 1.2345678901234567} if retained else {}
        for part in have:
            mine = _reported(parts, like, texts=part == "test" and makes, losses=True, counts=part == "test")
            facts |= {f"{part}.{name}": value for name, value in mine.items()}
        return call.length(form, only=None, **facts)

    def of_client(client: ClientId) -> int:
        public = ["public"] if len(parts.server_test) and parts.public_of(client) is not None else []
        return length(_like(parts, client), (*_parts_of(parts, client), *public), parts.makes(client))

    return of_client
