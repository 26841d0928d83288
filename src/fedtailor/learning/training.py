"""The training loop."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn

from ..chance import seed_torch, stream, stream_seed
from ..diverged import Diverged, check_loss
from ..errors import NotFinite
from ..records import ClientId
from ..tasks.shard import Shard, training_batches
from ..tensors import Lazy, Tensors, check_finite, subtract
from .local import LocalTraining
from .optimizer import make_optimizer, moments_of, restore_moments, set_rate
from .private.client import PrivateClient
from .recompute import recomputing
from .worker import OnStep, Worker

Correction = Callable[[dict[str, nn.Parameter]], None]  # changes gradients in place, before clipping
LossOf = Callable[[list[int]], tuple[Tensor, int, int]]  # rows -> sum of the loss, tokens seen, targets counted


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What local training made of the weights that were in place."""

    delta: Tensors  # trained minus received, of what is exchanged and was under training
    rates: float  # sum of the learning rates of all steps
    optimizer: Tensors  # the moments, if they are to be kept
    losses: Sequence[float]  # mean loss of each step, over its counted targets
    norms: Sequence[float] = ()  # of the gradient of each step, before clipping
    clip_norm: float | None = None  # that longer gradients were cut to
    tokens: int  # seen, without padding
    targets: int  # counted by the loss

    @property
    def gradient_norm(self) -> float | None:
        """The mean norm of the steps' gradients, before clipping."""
        return fmean(self.norms) if self.norms else None

    @property
    def clipped(self) -> float | None:
        """The share of steps whose gradient was clipped, in [0, 1]; None if none would be."""
        if self.clip_norm is None or not self.norms:
            return None
        return fmean(norm > self.clip_norm for norm in self.norms)


def train_locally(
    worker: Worker,
    shard: Shard,
    settings: LocalTraining,
    *,
    round: int,
    client: ClientId,
    rate_factor: float = 1.0,
    optimizer: Tensors | None = None,
    corrections: Sequence[Correction] = (),
    only: Collection[str] | None = None,
    beside: Mapping[str, nn.Parameter] | None = None,
    received: Tensors | None = None,
    purpose: str = "",
    loss_of: LossOf | None = None,
    on_step: OnStep | None = None,
    private: PrivateClient | None = None,
) -> Trained:
    """Train the weights in place on `shard` for one round and return what changed.

    The draws (order of examples, dropout) depend on the worker's seed, the purpose, the round and the client alone.
    Args:
        rate_factor: share of the learning rate that holds in this round.
        optimizer: moments kept from the client's last round, as `Trained.optimizer` gave them.
        corrections: applied to the gradients of each step in order, before clipping.
        only: names of the weights that are trained in this round; the others rest, and get no gradient. None: all.
        beside: further parameters that are trained with them, which are none of the worker's; they require gradients here alone.
        received: what is in place, of what is exchanged, if the caller has it and it is large: then it is not copied, and each tensor of
            the delta is made of the weights in place when it is asked for. None: a copy is made first, and the delta at once.
        purpose: goes in front of the names of the random streams, so that two trainings of one round draw apart.
        loss_of: the loss on some rows of `shard`; None: the task's own.
        private: draws units and adds noise in the place of the usual batches and gradients.

    Raises:
        Diverged: if a loss or, after the last step, a weight is NaN, infinite or too large; the weights in place are then of no use.
    """
    trained = worker.params if only is None else {name: worker.params[name] for name in worker.params if name in only}
    params = {**trained, **(beside or {})}
    start = worker.tensors() if received is None else received
    engine = make_optimizer(params, settings, heads=worker.heads)
    restore_moments(engine, params, optimizer or {})
    steps = settings.steps_per_round(len(shard)) if private is None else private.schedule.steps
    draw = stream(worker.seed, f"{purpose}batches", round, client)
    losses, norms, tokens, targets, rates = [], list[float](), 0, 0, 0.0
    loss_of = loss_of or _task_loss(worker, shard)
    if private is None:
        step_on = partial(_step, params, loss_of, engine=engine, clip_norm=settings.clip_norm, corrections=corrections)
        taken: Iterator[tuple[float, float, int, int]] = map(step_on, step_batches(shard, settings, draw))
    else:
        taken = _noised(private.steps(worker.model, shard, params, loss_of, settings.batch_size), params, engine, corrections)
    worker.model.train()
    with (
        _requiring({**worker.params, **params}, params),
        recomputing(worker.model, settings.checkpointing),
        torch.random.fork_rng(devices=[worker.device] if worker.device.type == "cuda" else []),
    ):
        seed_torch(stream_seed(worker.seed, f"{purpose}dropout", round, client), worker.device)
        for step in range(steps):
            rate = settings.peak_learning_rate * rate_factor * settings.warmup_factor(round, step, steps)
            set_rate(engine, rate)
            loss, norm, seen, counted = next(taken)
            check_loss("training loss", loss, round=round, step=step + 1, rate=rate)
            losses.append(loss)
            norms.append(norm)
            tokens, targets, rates = tokens + seen, targets + counted, rates + rate
            if on_step:
                on_step(step + 1, steps, loss)
    check_trained(params, round=round, step=steps, rate=rate)
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
