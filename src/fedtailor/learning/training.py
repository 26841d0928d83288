"""The training loop."""

import math
from collections.abc import Collection, Generator, Iterator, Mapping
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from ..chance import seed_torch, stream, stream_seed
from ..diverged import Diverged, check_loss
from ..errors import NotFinite
from ..tasks.shard import Shard, training_batches
from ..tensors import Lazy, Tensors, check_finite, subtract
from .descent import descents_of, requiring, task_loss
from .local import LocalTraining
from .recompute import recomputing
from .work import T, Trained, Training, Working
from .worker import Worker


def train_locally(work: Training) -> Trained:
    """Carry out one training and return what changed.

    Raises:
        Diverged: if a loss or, after the last step, a weight is NaN, infinite or too large; the weights in place are then of no use.
    """
    worker, settings, only, received = work.worker, work.settings, work.only, work.received
    trained = worker.params if only is None else {name: worker.params[name] for name in worker.params if name in only}
    params = {**trained, **work.beside}
    start = worker.tensors() if received is None else received
    descents = descents_of(work, params)
    private = work.private
    steps = settings.steps_per_round(len(work.shard)) if private is None else private.schedule.steps
    losses, norms, tokens, targets, rates = [], list[float](), 0, 0, 0.0
    if private is None:
        draw = stream(worker.seed, f"{work.purpose}batches", work.round, work.client)
        taken = descents.steps(
            step_batches(work.shard, settings, draw),
            (work.round - 1) * steps,
            clip_norm=settings.clip_norm,
            corrections=work.corrections,
        )
    else:
        loss_of = work.loss_of or task_loss(worker, work.shard)
        noised = private.steps(worker.model, work.shard, params, loss_of, settings.batch_size)
        taken = descents.noised(noised, work.corrections)
    worker.model.train()
    with (
        requiring({**worker.params, **params}, params),
        recomputing(worker.model, settings.checkpointing),
        torch.random.fork_rng(devices=[worker.device] if worker.device.type == "cuda" else []),
    ):
        seed_torch(stream_seed(worker.seed, f"{work.purpose}dropout", work.round, work.client), worker.device)
        for step in range(steps):
            rate = settings.peak_learning_rate * work.rate_factor * settings.warmup_factor(work.round, step, steps)
            descents.set_rate(rate)
            seen = next(taken)
            check_loss("training loss", seen.loss, round=work.round, step=step + 1, rate=rate)
            losses.append(seen.loss)
            norms.append(seen.norm)
            tokens, targets, rates = tokens + seen.tokens, targets + seen.targets, rates + rate
            if work.on_step:
                work.on_step(step + 1, steps, seen.loss)
    check_trained(params, round=work.round, step=steps, rate=rate)
    kept = descents.close(keep=settings.keep_optimizer)
    return Trained(
        delta=_delta(worker, start, params, only=only, lazy=received is not None),
        rates=rates,
        optimizer=kept,
        losses=losses,
        norms=norms,
        clip_norm=settings.clip_norm if private is None else None,
        tokens=tokens,
        targets=targets,
    )


def one_by_one(work: Working[T] | T) -> T:
    """Carry out the trainings that a piece of work asks for, one after the other, and return its result.

    Args:
        work: a result that is there already is returned as it is: who trains nothing need not ask.
    """
    if not isinstance(work, Generator):
        return work
    try:
        asked = next(work)
        while True:
            asked = work.send(train_locally(asked))
    except StopIteration as end:
        result: T = end.value
        return result


def check_trained(weights: Tensors, *, round: int, step: int, rate: float | None = None) -> None:
    """Raise Diverged if any weight is NaN or infinite after `step`; a loss shows that only at the step after."""
    try:
        check_finite(weights, "weights after training")
    except NotFinite:
        raise Diverged("weights", math.nan, round=round, step=step, rate=rate) from None


def _delta(
    worker: Worker, start: Tensors, params: Mapping[str, nn.Parameter], *, only: Collection[str] | None, lazy: bool
) -> Tensors:
    """Return trained minus received, of what is exchanged and was under training."""
    if lazy:
        return Lazy(_change, worker.params, start, names=[name for name in start if name in params])
    return {name: value for name, value in subtract(worker.tensors(), start).items() if only is None or name in only}


def _change(now: Tensor, before: Tensor) -> Tensor:
    return now.detach().to(before.device) - before


def step_batches(shard: Shard, settings: LocalTraining, draw: np.random.Generator) -> Iterator[list[list[int]]]:
    """Yield the batches of one optimizer step after the other, epoch after epoch; no step reaches across two epochs."""
    lengths = shard.sizes_N.tolist()
    while True:
        batches = training_batches(lengths, settings.batch_size, draw)
        while group := list(islice(batches, settings.accumulate)):
            yield group
