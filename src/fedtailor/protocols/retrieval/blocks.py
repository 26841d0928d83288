"""The rounds of retrieval: a block of questions each, whose answers are measured where right ones are known."""

import json
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from ...errors import FedtailorError
from ...interfaces import Federation
from ...messages import Record, state_of, tensors_of
from ...messages.record import tensor
from ...records import ClientId, Example, Round, ServerState
from ...retrieval import Federation as Local
from ...retrieval.answered import record
from ...retrieval.asking import Found
from ...retrieval.client import RetrievalClient
from ...retrieval.collection import Asked
from ...retrieval.embedder import Embedder
from ...retrieval.evaluate import answers_to, evaluate_alone, held_by, identified, listed, suspects_of
from ...retrieval.inbox import Inbox
from ...retrieval.passages import Passage
from ...retrieval.readers import Answer, Reader, client_answer
from ...retrieval.standing import Standing
from ...retrieval.tally import Held, Known, Tally
from ...tuning import bytes_tensor, tensor_text
from .server import Asker, Courier
from .settings import Retrieval

SHOWN = 64  # questions of a run up to which its answers are kept


@dataclass(frozen=True, kw_only=True)
class Kept(Record):
    """What the server keeps from block to block."""

    tally: Tensor | None = tensor("tally")  # uint8, JSON of what was measured


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """What blocks of questions are asked and measured with."""

    settings: Retrieval
    embedder: Embedder
    asks: Embedder | None  # of questions, where a run has trained one
    questions: Sequence[Known]
    own: Mapping[ClientId, Embedder]  # embedders of the clients in this process that have another one
    here: Mapping[ClientId, RetrievalClient]  # clients in this process, of which more is known than they let out
    make_reader: Callable[[], Reader | None]
    inbox: Inbox | None = None  # of questions that come while the run is open

    @property
    def measured(self) -> bool:
        """Whether a right answer or passage is known of any question."""
        return any(one.answers or one.passage for one in self.questions)

    def passages(self, found: Found) -> list[Passage]:
        """Return the passages of an answer, as far as they were let out; of clients in this process those too that were not."""
        return [
            hit.passage
            if hit.passage.id or hit.client not in self.here
            else self.here[ClientId(hit.client)].index.rows([hit.place[1]])[0]
            if hit.place[0] < 0
            else self.here[ClientId(hit.client)].passage_at(found.exchange, *hit.place)
            for hit in found.hits
        ]

    def held(self) -> Held | None:
        """Return what clients hold, if they are in this process."""
        return held_by({name: one.index for name, one in self.here.items()}) if self.here else None

    def outcome(self, state: ServerState) -> dict[str, Any]:
        """Return what was measured, for summary.json."""
        reported = _reported(state)
        tally, share = Tally(**reported["tally"]), max(1, reported["tally"]["questions"])
        return {
            "share": self.settings.share,
            "lets_out": self.settings.lets_out,
            "questions": tally.questions,
            "answerable": tally.answerable if self.here else None,
            "metrics": tally.metrics(),
            "asked": tally.asked / share,
            "texts": reported["texts"] / share,
            "notes": list(tally.notes),
            "clients": reported["clients"],
            "answers": reported["answers"],
        }


def start(settings: Retrieval) -> ServerState:
    """Return the state before the first question."""
    return _state(0, tally=Tally(top_k=settings.top_k), standing=Standing(), texts=0, clients={}, answers=[])


def serve(measuring: Measuring, federation: Federation, state: ServerState, *, rounds: int) -> Generator[Round, None, None]:
    """Yield after each block of questions, of which there are `rounds` of about one size; where there are no questions, after one look at the clients.

    Raises:
        TooFewClients: if no client gives a catalogue of its index.
        SettingError: if every client allows less than is asked for, or has another embedder.
    """
    settings = measuring.settings
    courier = Courier(federation=federation, timeout_s=settings.timeout_s)
    reported = _reported(state)
    tally, reader, held, suspects = Tally(**reported["tally"]), None, None, None
    asker = Asker(
        settings=settings,
        embedder=measuring.embedder,
        courier=courier,
        standing=Standing(**_counters(reported["standing"])),
        asks=measuring.asks,
    )
    size = max(1, -(-len(measuring.questions) // rounds))
    last = max(1, -(-len(measuring.questions) // size))
    for index in range(state.version + 1, last + 1):
        server, before = asker.ready(), replace(tally)
        block = measuring.questions[(index - 1) * size : index * size]
        found = server.search([one.question for one in block], settings.top_k) if block else []
        reader = reader or measuring.make_reader()
        held = held or measuring.held()
        suspects = suspects or suspects_of(settings.question, measuring.asks or measuring.embedder, measuring.questions)
        answers = answers_to(settings.share, reader, found)
        for n, (known, answer, one) in enumerate(zip(block, answers, found, strict=True), start=(index - 1) * size):
            tally.take(
                known,
                one,
                answer,
                passages=measuring.passages(one),
                held=held,
                cited=settings.share != "answers",
                identified=identified(suspects, n, one),
            )
        if index == last and measuring.inbox is not None and settings.open_s:
            answer_others(measuring.inbox, asker, reader, settings)
        reported["texts"], courier.texts = reported["texts"] + courier.texts, 0
        sizes = {name: one.passages for name, one in server.catalogues.items()}
        failures, courier.failures = courier.failures, []
        if len(measuring.questions) <= SHOWN:
            reported["answers"] += [_shown(one, answer) for one, answer in zip(found, answers, strict=True)]
        for why in asker.refused.values():
            tally.notes.setdefault(why, 0)
        state = _state(
            index, tally=tally, standing=server.standing, texts=reported["texts"], clients=sizes, answers=reported["answers"]
        )
        figures = {
            "questions": float(len(block)),
            "asked": (tally.asked - before.asked) / max(1, len(block)),
            **tally.metrics(),
        }
        yield Round(index=index, state=state, figures=figures, clients=courier.rows(sizes), failures=failures)


def answer_others(inbox: Inbox, asker: Asker, reader: Reader | None, settings: Retrieval) -> None:
    """Answer what comes until nothing has for `open_s`; clients that were away are asked again for their catalogues."""
    while (request := inbox.take(settings.open_s)) is not None:
        try:
            found = asker.ready().search(request.questions, settings.top_k if request.top_k is None else request.top_k)
            answers = answers_to(settings.share, reader, found)
        except FedtailorError as fault:
            inbox.answer(request.ticket, {"fault": str(fault)})
            continue
        inbox.answer(request.ticket, {"answers": [_shown(one, answer) for one, answer in zip(found, answers, strict=True)]})
    inbox.is_open = False


def known_of(example: Example) -> Known:
    """Return a question of a file with what is known of its answer."""
    fields = example.fields
    return Known(
        question=str(fields["question"]),
        answers=listed(fields.get("answers", fields.get("answer"))),
        passage=str(fields.get("passage_id") or ""),
    )


def alone(measuring: Measuring, seed: int) -> dict[str, dict[str, float]]:
    """Return what each client's own index reaches without the others."""
    federation = Local(
        clients={str(name): one.index for name, one in measuring.here.items()},
        embedder=measuring.embedder,
        embedders={str(name): one for name, one in measuring.own.items()},
        asks=measuring.asks,
        score=measuring.settings.score,
        seed=seed,
    )
    return evaluate_alone(federation, measuring.questions, measuring.make_reader(), top_k=measuring.settings.top_k)


def _shown(found: Found, answer: Answer | None) -> dict[str, Any]:
    return record(Asked(found=found, answer=answer or client_answer(found)))


def _reported(state: ServerState) -> dict[str, Any]:
    kept = state_of(Kept, state.method).tally
    assert kept is not None
    found: dict[str, Any] = json.loads(tensor_text(kept))
    return found


def _counters(reported: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    return {name: Counter(counts) for name, counts in reported.items()}


def _state(
    version: int,
    *,
    tally: Tally,
    standing: Standing,
    texts: int,
    clients: Mapping[str, int],
    answers: Sequence[Mapping[str, Any]],
) -> ServerState:
    reported = {
        "tally": asdict(tally),
        "standing": standing.to_plain(),
        "texts": texts,
        "clients": dict(clients),
        "answers": list(answers),
    }
    return ServerState(
        version=version, shared={}, method=tensors_of(Kept(tally=bytes_tensor(json.dumps(reported, sort_keys=True))))
    )
