"""The training loop."""

import math
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..chance import seed_torch, stream, stream_seed
from ..diverged import Diverged, check_loss
from ..errors import NotFinite
from ..tasks.shard import Shard, training_batches
from ..tensors import Lazy, Tensors, check_finite, clone, subtract
from .local import LocalTraining
from .recompute import recomputing
from .work import Correction, LossOf, T, Trained, Training, Working
from .worker import Worker

FACTOR = "factor"  # of a group of weights in an optimizer: what the learning rate is multiplied by


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
    steps = settings.steps_per_round(len(work.shard))
    groups = step_batches(work.shard, settings, stream(worker.seed, f"{work.purpose}batches", work.round, work.client))
    losses, norms, tokens, targets, rates = [], list[float](), 0, 0, 0.0
    loss_of = work.loss_of or _task_loss(worker, work.shard)
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
            loss, norm, seen, counted = _step(
                params, loss_of, next(groups), engine, clip_norm=settings.clip_norm, corrections=work.corrections
            )
            check_loss("training loss", loss, round=work.round, step=step + 1, rate=rate)
            losses.append(loss)
            norms.append(norm)
            tokens, targets, rates = tokens + seen, targets + counted, rates + rate
            if work.on_step:
                work.on_step(step + 1, steps, loss)
    check_trained(params, round=work.round, step=steps, rate=rate)
    kept = moments_of(engine, params) if settings.keep_optimizer else {}
    engine.zero_grad(set_to_none=True)  # as large as the weights, and of no use any more
    delta: Tensors
    if received is None:
        delta = {name: value for name, value in subtract(worker.tensors(), start).items() if only is None or name in only}
    else:
        delta = Lazy(_change, worker.params, start, names=[name for name in start if name in params])
    return Trained(
        delta=delta,
        rates=rates,
        optimizer=kept,
        losses=losses,
        norms=norms,
        clip_norm=settings.clip_norm,
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


def _change(now: Tensor, before: Tensor) -> Tensor:
    return now.detach().to(before.device) - before


def make_optimizer(
    params: dict[str, nn.Parameter], settings: LocalTraining, *, heads: Collection[str] = ()
) -> torch.optim.Optimizer:
    """Return torch's optimizer over the trained weights, with nothing remembered.

    Args:
        heads: names of the weights of a classifier's head, which may have a learning rate of their own.
    """
    apart = [name for name in params if name in heads and settings.head_factor != 1]
    groups: list[dict[str, Any]] = [
        {"params": [param for name, param in params.items() if (name in apart) == of_head], FACTOR: factor}
        for of_head, factor in ((False, 1.0), (True, settings.head_factor))
    ]
    weights = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            weights, settings.peak_learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
    return torch.optim.AdamW(weights, settings.peak_learning_rate, weight_decay=settings.weight_decay, fused=True)


def set_rate(engine: torch.optim.Optimizer, rate: float) -> None:
    """Let the next step be one of this learning rate, and of its multiple where weights have one of their own."""
    for group in engine.param_groups:
        group["lr"] = rate * group[FACTOR]


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
    for correct in corrections:
        correct(params)
    norm = torch.nn.utils.get_total_norm([param.grad for param in weights if param.grad is not None])
    if clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(weights, clip_norm, norm)
    engine.step()
    return total / targets, norm.item(), tokens, targets


def moments_of(engine: torch.optim.Optimizer, params: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Return what the optimizer remembers, as tensors named "field/weight"."""
    found = {
        f"{field}/{name}": value
        for name, param in params.items()
        for field, value in engine.state.get(param, {}).items()
        if isinstance(value, Tensor)
    }
    return clone(found)


def restore_moments(engine: torch.optim.Optimizer, params: dict[str, nn.Parameter], moments: Tensors) -> None:
    """Let the optimizer continue with what `moments_of` gave; what belongs to no weight in `params` is passed over."""
    for key, value in moments.items():
        field, name = key.split("/", 1)
        if name not in params:  # it rests in this round
            continue
        where = "cpu" if field == "step" else params[name].device
        engine.state[params[name]][field] = value.to(where, copy=True)
