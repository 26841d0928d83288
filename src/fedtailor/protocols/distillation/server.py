"""The server's part of distillation: it asks, aggregates logits and learns from them."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from ...aggregation.mean import weighted_mean
from ...interfaces import Federation
from ...learning.distil import distil, say
from ...learning.training import train_locally
from ...learning.worker import Worker
from ...messages import state_of, tensors_of, write
from ...records import ClientFailure, ClientId, Round, ServerState
from ...tensors import check_finite, norm, subtract
from ..rounds.attempts import Tried, until_enough
from ..rounds.sampling import Sampler
from .collect import collect, fault_in, weights_of, with_said
from .messages import Learn, Said
from .refine import draw_rows
from .state import Taught
from .teacher import consensus
from .terms import Terms

MOST_NOISE = 60.0  # of one count, in units of 1 / epsilon: geometric noise is larger once in e^60 draws
Answers = Mapping[ClientId, Said]


def serve(
    terms: Terms,
    worker: Worker,
    federation: Federation,
    state: ServerState,
    sampler: Sampler,
    *,
    rounds: int,
    wanted: Callable[[int], Sequence[str]] = lambda index: (),
) -> Generator[Round, None, None]:
    """Yield after each round; what was yielded last is all that is needed to resume.

    Raises:
        TooFewClients: if less than the quorum answered, twice.
    """
    while True:
        index, local = state.version + 1, terms.local
        request = Learn(
            version=state.version,
            rate_factor=local.round_factor(index, rounds),
            losses=list(wanted(index)) or None,
            **lesson(terms, state),
        )

        def ask(state: ServerState = state, request: Learn = request) -> Tried[tuple[Answers, Sequence[Mapping[str, Any]]]]:
            asked = sampler.draw(state.version + 1)
            replies = federation.ask(dict.fromkeys(asked, write(request)))
            due = partial(_fault, terms, version=state.version, marks=state_of(Taught, state.method).now)
            answers, rows, failed = collect(replies, due)
            return Tried(found=(answers, rows), asked=len(asked), answered=len(answers), failures=failed, rows=lambda: rows)

        enough = until_enough(
            ask,
            index=index,
            what="usable logits",
            quorum=terms.settings.quorum,
            learning_rate=local.peak_learning_rate,
        )
        answers, rows = enough.found
        state, figures = _learn(terms, worker, state, answers, weights_of(answers, sampler.most_weight))
        yield Round(index=index, state=state, figures=figures, clients=enough.numbered(rows), failures=enough.failures)


def lesson(terms: Terms, state: ServerState) -> dict[str, Any]:
    """Return what goes down, by the fields of `Lesson`."""
    kept = state_of(Taught, state.method)
    said = {"weights": state.shared} if terms.sends_weights else {"logits": kept.logits}
    return {**said, "now": kept.now, "before": kept.before}


def _fault(terms: Terms, said: Said, version: int, *, marks: Tensor | None) -> ClientFailure | None:
    """Return why a message that passed the gate is of no use in this round."""
    scored = len(terms.public.shard) if terms.settings.scores_in(version + 1) else None
    places, noise = terms.public.places(version + 1, marks), terms.settings.label_epsilon
    return fault_in(
        said,
        version,
        wire=terms.wire,
        places=places,
        scored=scored,
        counts_off=0.0 if noise is None else terms.wire.classes * MOST_NOISE / noise,
    )


def _learn(
    terms: Terms, worker: Worker, state: ServerState, answers: Answers, weights: Mapping[ClientId, float]
) -> tuple[ServerState, dict[str, float]]:
    """Return the server's next state and the round's figures: aggregate, distil, report what the new weights say."""
    index, settings = state.version + 1, terms.settings
    kept = state_of(Taught, state.method)
    marks = kept.now
    teacher = consensus(answers, weights, terms.wire, settings.aggregation, places=terms.public.places(index, marks))
    before = state.shared
    if terms.sends_weights:
        before = weighted_mean((said.weights, weights[client]) for client, said in answers.items())
    worker.load(before)
    shard = terms.public.slice(index, marks)
    fitting = distil(
        worker,
        shard,
        teacher,
        settings.distil,
        temperature=settings.temperature,
        weight=settings.weight,
        round=index,
        purpose="distil-",
    )
    trained = train_locally(fitting)
    shared = worker.tensors()
    check_finite(shared, "the server's weights after distillation")
    if terms.sends_weights:
        back: dict[str, Tensor] = {}
    elif settings.back == "server":
        back = say(worker, shard, terms.wire.encode)
    else:
        back = teacher.encode(terms.wire)
    kept = replace(with_said(kept, answers), logits=back, before=marks, now=None if marks is None else marks.clone())
    figures = {
        "update_norm": norm(subtract(shared, state.shared)),
        "distil_loss": trained.losses[-1],
        "agreement": teacher.agreement,
        "server_tokens": float(trained.tokens),
    }
    if settings.scores_in(index):
        kept = replace(kept, now=terms.public.mark(draw_rows(terms.public, kept, round=index)))
    return ServerState(version=index, shared=shared, method=tensors_of(kept)), figures
