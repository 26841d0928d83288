"""The training loop."""

import math
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from ..chance import seed_torch, stream, stream_seed
from ..diverged import Diverged, check_loss
from ..errors import NotFinite
from ..tasks.shard import Shard, training_batches
from ..tensors import Lazy, Tensors, check_finite, subtract
from .local import LocalTraining
from .optimizer import make_optimizer, moments_of, restore_moments, set_rate
from .recompute import recomputing
from .work import Correction, LossOf, T, Trained, Training, Working
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
    engine = make_optimizer(params, settings, heads=worker.heads)
    restore_moments(engine, params, work.optimizer)
    private = work.private
    steps = settings.steps_per_round(len(work.shard)) if private is None else private.schedule.steps
    losses, norms, tokens, targets, rates = [], list[float](), 0, 0, 0.0
    loss_of = work.loss_of or _task_loss(worker, work.shard)
    if private is None:
        draw = stream(worker.seed, f"{work.purpose}batches", work.round, work.client)
        step_on = partial(_step, params, loss_of, engine=engine, clip_norm=settings.clip_norm, corrections=work.corrections)
        taken: Iterator[tuple[float, float, int, int]] = map(step_on, step_batches(work.shard, settings, draw))
    else:
        noised = private.steps(worker.model, work.shard, params, loss_of, settings.batch_size)
        taken = _noised(noised, params, engine, work.corrections)
    worker.model.train()
    with (
        _requiring({**worker.params, **params}, params),
        recomputing(worker.model, settings.checkpointing),
        torch.random.fork_rng(devices=[worker.device] if worker.device.type == "cuda" else []),
    ):
        seed_torch(stream_seed(worker.seed, f"{work.purpose}dropout", work.round, work.client), worker.device)
        for step in range(steps):
            rate = settings.peak_learning_rate * work.rate_factor * settings.warmup_factor(work.round, step, steps)
            set_rate(engine, rate)
            loss, norm, seen, counted = next(taken)
            check_loss("training loss", loss, round=work.round, step=step + 1, rate=rate)
            losses.append(loss)
            norms.append(norm)
            tokens, targets, rates = tokens + seen, targets + counted, rates + rate
            if work.on_step:
                work.on_step(step + 1, steps, loss)
    check_trained(params, round=work.round, step=steps, rate=rate)
    kept = moments_of(engine, params) if settings.keep_optimizer else {}
    engine.zero_grad(set_to_none=True)  # as large as the weights, and of no use any more
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


@contextmanager
def _requiring(everything: Mapping[str, nn.Parameter], trained: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Let what is under training require gradients inside the block, and nothing else."""
    before = {name: param.requires_grad for name, param in everything.items()}
    for name, param in everything.items():
        param.requires_grad_(name in trained)
    try:
        yield
    finally:
        for name, param in everything.items():
            param.requires_grad_(before[name])


def _task_loss(worker: Worker, shard: Shard) -> LossOf:
    """Return the task's loss on rows of `shard`."""

    def loss_of(rows: list[int]) -> tuple[Tensor, int, int]:
        batch = worker.batch(shard, rows)
        loss, counted = worker.loss(batch)
        return loss, batch.tokens, counted

    return loss_of


def _step(
    params: dict[str, nn.Parameter],
    loss_of: LossOf,
    batches: list[list[int]],
    engine: torch.optim.Optimizer,
    *,
    clip_norm: float | None,
    corrections: Sequence[Correction],
) -> tuple[float, float, int, int]:
    """Take one optimizer step on the mean loss over the counted targets of all `batches`; return it, the gradient's norm, tokens and targets."""
    engine.zero_grad(set_to_none=True)
    total, tokens, targets = 0.0, 0, 0
    for rows in batches:
        loss, seen, counted = loss_of(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        total, tokens, targets = total + loss.item(), tokens + seen, targets + counted
    weights = [param for param in params.values() if param.grad is not None]
    torch._foreach_div_(
        [param.grad for param in weights if param.grad is not None], float(targets)
    )  # a sum over all batches becomes their mean
    norm = _finish(params, engine, corrections, clip_norm=clip_norm)
    return total / targets, norm, tokens, targets


def _noised(
    mean_of: Callable[[], float],
    params: dict[str, nn.Parameter],
    engine: torch.optim.Optimizer,
    corrections: Sequence[Correction],
) -> Iterator[tuple[float, float, int, int]]:
    """Take an optimizer step on what `mean_of` leaves behind at the weights; yield as `_step` returns, without tokens and targets, which are nobody's business."""
    while True:
        loss = mean_of()
        yield loss, _finish(params, engine, corrections), 0, 0


def _finish(
    params: dict[str, nn.Parameter],
    engine: torch.optim.Optimizer,
    corrections: Sequence[Correction],
    *,
    clip_norm: float | None = None,
) -> float:
    """Correct the gradients in place, shorten them if asked, and take the optimizer's step; return their norm before they were shortened."""
    for correct in corrections:
        correct(params)
    weights = [param for param in params.values() if param.grad is not None]
    norm = torch.nn.utils.get_total_norm([param.grad for param in weights if param.grad is not None])
    if clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(weights, clip_norm, norm)
    engine.step()
    return norm.item()
