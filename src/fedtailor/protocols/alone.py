"""What each client reaches without a federation: it trains alone, from the same start and for as many rounds, and tells how good that is.

The weights before round 1 go down; nothing but figures comes up, and nothing is kept. It is the baseline `local` under the same clients and
draws, and as plain: no rule of aggregation has a part in it, and patience none either.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..learning.client import ClientState
from ..learning.corrections import proximal
from ..learning.training import Trained, train_locally
from ..learning.worker import OnStep, Spent, Worker
from ..messages import MessageSpec, specs_of
from ..messages.facts import flag, shares
from ..records import Fact, Message
from ..tasks.shard import Shard
from ..tensors import Tensors
from .personal import WORK_FACTS, figure_specs, measure_parts

if TYPE_CHECKING:
    from .averaging import Averaging

KIND = "alone"
MOMENT = "alone"  # names the file of texts at the client


def alone_request(start: Tensors, *, rates: Sequence[float], keep_best: bool) -> Message:
    """Return the request to train alone.

    Args:
        start: the shared weights before round 1.
        rates: share of the learning rate in each round; so many rounds are trained.
        keep_best: whether a client with a validation part measures the weights of its best round there; else those of the last.
    """
    return Message(kind=KIND, tensors=start, facts={"rates": [float(rate) for rate in rates], "keep_best": int(keep_best)})


def answer_alone(
    protocol: "Averaging",
    worker: Worker,
    state: ClientState,
    message: Message,
    *,
    public: Shard | None,
    on_step: OnStep | None = None,
) -> Message:
    """Train from the received weights on the client's own examples, round after round, and return the figures.

    Raises:
        NotFinite: if a loss is not finite.
    """
    worker.load(message.tensors)  # weights that stay home are as they were drawn
    keep_best = bool(message.facts["keep_best"]) and len(state.validation) > 0
    rates: Sequence[float] = message.facts["rates"]  # type: ignore[assignment]
    training = Spent(worker)
    best = _weights(worker) if keep_best else ({}, {})
    least = _validation_loss(worker, state) if keep_best else math.inf
    done: list[Trained] = []
    for round, rate in enumerate(rates, start=1):
        moments = done[-1].optimizer if done else {}
        done.append(_train_round(protocol, worker, state, round=round, rate=rate, moments=moments, on_step=on_step))
        shared, home = _weights(worker)
        worker.load(shared, home=home)  # what was trained may differ from what it is exchanged as
        if not keep_best:
            continue
        loss = _validation_loss(worker, state)
        if loss < least:
            best, least = (shared, home), loss
    facts: dict[str, Fact] = {
        "seconds": training.working,
        "steps": sum(len(trained.losses) for trained in done),
        "tokens": sum(trained.tokens for trained in done),
    }
    if keep_best:
        worker.load(best[0], home=best[1])
    facts |= measure_parts(worker, state, public, generate=True, name=MOMENT)
    facts["evaluation_seconds"] = training.evaluating
    return Message(kind=KIND, facts=facts)


def alone_specs(start: Tensors, figures: Iterable[str]) -> tuple[MessageSpec, MessageSpec]:
    """Return what this phase may send up and down; `figures` are the names that the task can report."""
    down = MessageSpec(
        tensors=specs_of(start),
        facts={
            "rates": shares("share of the learning rate in each round of training alone"),
            "keep_best": flag("1 if the round of least own validation loss counts, 0 if the last"),
        },
        trains="rounds",
    )
    return MessageSpec(facts=WORK_FACTS | figure_specs(figures, "of weights trained alone")), down


def _train_round(
    protocol: "Averaging",
    worker: Worker,
    state: ClientState,
    *,
    round: int,
    rate: float,
    moments: Tensors,
    on_step: OnStep | None,
) -> Trained:
    """Train all weights, whatever rests in this round of the federation under its rule."""
    local = protocol.local
    return train_locally(
        worker,
        state.train,
        local,
        round=round,
        client=state.id,
        rate_factor=rate,
        optimizer=moments,
        corrections=[proximal(worker.params, local.proximal)] if local.proximal else [],
        on_step=on_step,
    )


def _weights(worker: Worker) -> tuple[Tensors, Tensors]:
    return worker.tensors(), worker.home_tensors()


def _validation_loss(worker: Worker, state: ClientState) -> float:
    return worker.evaluate(state.validation, generate=False).figures["loss"]
