"""What each client reaches without a federation: it trains alone, from the same start and for as many rounds, and reports how good that is.

The weights before round 1 go down; nothing but figures comes up, and nothing is kept. It is the baseline `local` under the same clients and
draws, and as plain: no rule of aggregation has a part in it, and patience none either.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..learning.client import Client
from ..learning.corrections import proximal
from ..learning.local import LocalTraining
from ..learning.work import Trained, Training, Working
from ..learning.worker import OnStep, Spent, Worker
from ..messages import Call, Record, specs_of, write
from ..messages.facts import flag, shares
from ..messages.record import fact, tensors
from ..messages.work import Work, figure_specs
from ..records import Message
from ..tasks.shard import Shard
from ..tensors import Tensors
from .personal import measure_parts

KIND = "alone"
MOMENT = "alone"  # names the file of texts at the client


@dataclass(frozen=True, kw_only=True)
class TrainAlone(Record, kind=KIND):
    """The weights before round 1, to train from alone."""

    rates: Sequence[float] = fact(shares("share of the learning rate in each round of training alone"))
    keep_best: int = fact(flag("1 if the round of least own validation loss counts, 0 if the last"))
    start: Tensors = tensors()


@dataclass(frozen=True, kw_only=True)
class TrainedAlone(Work, kind=KIND):
    """What training alone took, and how good its weights are."""


def alone_request(start: Tensors, *, rates: Sequence[float], keep_best: bool) -> Message:
    """Return the request to train alone.

    Args:
        start: the shared weights before round 1.
        rates: share of the learning rate in each round; so many rounds are trained.
        keep_best: whether a client with a validation part measures the weights of its best round there; else those of the last.
    """
    return write(TrainAlone(rates=[float(rate) for rate in rates], keep_best=int(keep_best), start=start))


def answer_alone(
    local: LocalTraining,
    client: Client,
    asked: TrainAlone,
    *,
    public: Shard | None,
    on_step: OnStep | None = None,
) -> Working[TrainedAlone]:
    """Train from the received weights on the client's own examples, round after round, and return the figures.

    Raises:
        NotFinite: if a loss is not finite.
    """
    worker = client.worker
    worker.load(asked.start)  # weights that stay home are as they were drawn
    keep_best = bool(asked.keep_best) and len(client.validation) > 0
    training = Spent(worker)
    best = _weights(worker) if keep_best else ({}, {})
    least = _validation_loss(client) if keep_best else math.inf
    done: list[Trained] = []
    for round, rate in enumerate(asked.rates, start=1):
        moments = done[-1].optimizer if done else {}
        done.append((yield _training(local, client, round=round, rate=rate, moments=moments, on_step=on_step)))
        shared, home = _weights(worker)
        worker.load(shared, home=home)  # what was trained may differ from what it is exchanged as
        if not keep_best:
            continue
        loss = _validation_loss(client)
        if loss < least:
            best, least = (shared, home), loss
    seconds = training.working
    if keep_best:
        worker.load(best[0], home=best[1])
    measured = measure_parts(client, public, generate=True, name=MOMENT)
    return TrainedAlone(
        seconds=seconds,
        steps=sum(len(trained.losses) for trained in done),
        tokens=sum(trained.tokens for trained in done),
        evaluation_seconds=training.evaluating,
        measured=measured,
    )


def alone_call(start: Tensors, figures: Iterable[str], *, retained: bool = False) -> Call:
    """Return the call of this phase; `figures` are the names that the task can report, `retained` whether general text is measured."""
    return Call(
        question=TrainAlone,
        answers=(TrainedAlone,),
        forms={"start": specs_of(start)},
        specs=figure_specs(figures, "of weights trained alone", retained=retained),
        trains="rounds",
    )


def _training(
    local: LocalTraining,
    client: Client,
    *,
    round: int,
    rate: float,
    moments: Tensors,
    on_step: OnStep | None,
) -> Training:
    """Return the training of all weights, whatever rests in this round of the federation under its rule."""
    return Training(
        worker=client.worker,
        shard=client.train,
        settings=local,
        round=round,
        client=client.id,
        rate_factor=rate,
        optimizer=moments,
        corrections=[proximal(client.worker.params, local.proximal)] if local.proximal else [],
        on_step=on_step,
    )


def _weights(worker: Worker) -> tuple[Tensors, Tensors]:
    return worker.tensors(), worker.home_tensors()


def _validation_loss(client: Client) -> float:
    return client.worker.evaluate(client.validation, generate=False).figures["loss"]
