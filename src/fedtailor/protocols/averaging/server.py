"""The server's part of averaging: it asks, adds up what comes, and steps."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch

from ...errors import EmptyRound
from ...interfaces import Asking, Observer, Watch, traits_of
from ...learning.worker import Worker
from ...messages import write
from ...records import Outcome, Round, ServerState
from ...tensors import Tensors, cast, norm, subtract
from ..rounds.attempts import Tried, until_enough
from ..rounds.counts import limited
from ..rounds.drift import Drift, watched
from ..rounds.sampling import Sampler
from ..rounds.shares import counted_less, with_seen, with_shares
from .collect import Collector
from .messages import Train, Trained, scale_reader, scales_of
from .settings import Averaging


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """What one exchange with the asked clients gives."""

    collector: Collector
    watches: Sequence[Watch]
    outcome: Outcome


def serve(
    settings: Averaging,
    federation: Asking,
    state: ServerState,
    sampler: Sampler,
    *,
    rounds: int,
    worker: Worker | None = None,
    observers: Sequence[Observer] = (Drift(),),
    wanted: Callable[[int], Sequence[str]] = lambda index: (),
) -> Generator[Round, None, None]:
    """Yield after each round; what was yielded last is all that is needed to resume.

    Args:
        rounds: planned in the job; schedules over rounds end there.
        wanted: which validation losses clients measure in a round: before and after local training, or none.
        worker: the server's, whose scales clients must have; None: they may report any.
        observers: look at the updates, where the rule gets them one by one.

    Raises:
        TooFewClients: if less than the quorum answered, twice.
    """
    local = settings.local
    traits = traits_of(settings.aggregation)
    quorum = 0.0 if traits.any_answers else settings.quorum
    while True:
        index = state.version + 1
        request = Train(
            version=state.version,
            rate_factor=local.round_factor(index, rounds),
            clients=len(federation.clients) if settings.counts_clients else None,
            losses=list(wanted(index)) or None,
            **_tensors(settings, state),
        )

        def ask(state: ServerState = state, request: Train = request) -> Tried[_Attempt]:
            return _attempt(settings, federation, state, sampler, request, worker=worker, observers=observers)

        enough = until_enough(
            ask, index=index, what="a usable update", quorum=quorum, learning_rate=local.peak_learning_rate, least=traits.least
        )
        outcome, collector = enough.found.outcome, enough.found.collector
        step = subtract(outcome.shared, state.shared)
        seen = [watch.end(outcome, step) for watch in enough.found.watches]
        rows = enough.numbered(with_shares([with_seen(row, seen) for row in collector.rows()], outcome))
        state = ServerState(version=index, shared=outcome.shared, method=outcome.state)
        figures = {"update_norm": norm(step), **outcome.figures, **counted_less(outcome)}
        figures |= {name: value for each in seen for name, value in each.figures.items()}
        yield Round(index=index, state=state, figures=figures, clients=rows, failures=enough.failures)


def _tensors(settings: Averaging, state: ServerState) -> dict[str, Tensors]:
    """Return what goes down, by the fields of `Train`."""
    dtype = getattr(torch, settings.wire)
    control = {"control": cast(state.method, dtype)} if traits_of(settings.aggregation).control else {}
    return {"shared": cast(dict(state.shared), dtype), **control}


def _attempt(
    settings: Averaging,
    federation: Asking,
    state: ServerState,
    sampler: Sampler,
    request: Train,
    *,
    worker: Worker | None,
    observers: Sequence[Observer],
) -> Tried[_Attempt]:
    """Ask the clients of a round once, and aggregate what comes as it comes."""
    trained = settings.sent(state.shared, state.version + 1)
    collector = Collector(
        state.version,
        sampler.draw(state.version + 1),
        lambda trained: weight(settings, trained),
        trained=trained,
        scale=scale_reader(state.shared),
        due_scale=None if worker is None else due_scale(worker, state.shared),
    )
    known = not traits_of(settings.aggregation).summed  # else each that comes is the mean of all
    watches = [observer.begin(state.shared, trained) for observer in observers if known]
    message = write(request)
    updates = limited(collector.updates(federation.ask(dict.fromkeys(collector.asked, message))), sampler.most_weight)
    try:
        outcome = settings.aggregation.combine(watched(updates, watches), state.shared, state.method)
        found = _Attempt(collector=collector, watches=watches, outcome=outcome)
    except EmptyRound:
        found = None
    return Tried(
        found=found,
        asked=len(collector.asked),
        answered=len(collector.answered),
        failures=collector.failures,
        rows=collector.rows,
    )


def weight(settings: Averaging, trained: Trained) -> float:
    """Return what a client counts in the average."""
    return {"examples": float(trained.examples), "targets": float(trained.targets), "uniform": 1.0}[settings.weights]


def due_scale(worker: Worker, shared: Tensors) -> list[float]:
    """Return what every client must report of alpha / r: all have the server's tuning."""
    return scales_of(shared, worker.tuning.scale(worker.model))
