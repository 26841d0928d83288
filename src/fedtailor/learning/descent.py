"""One optimizer step: on the one loss of a task, or on each of its losses in turn."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..errors import SettingError
from ..tasks.shard import Shard
from ..tasks.task import LossOfBatch
from .optimizer import make_optimizer, moments_of, restore_moments, set_rate
from .work import Correction, LossOf, Training
from .worker import Worker


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """What one step saw."""

    loss: float  # the mean over the counted targets; of several losses the sum of their means
    norm: float  # of the gradient before clipping; of several losses the largest
    tokens: int
    targets: int


@dataclass(frozen=True, kw_only=True)
class Descent:
    """One loss, the weights that it moves, and their optimizer."""

    params: dict[str, nn.Parameter]
    engine: torch.optim.Optimizer
    loss_of: LossOf
    penalty_of: LossOf | None = None  # a further term
    every: int = 1  # steps from one penalty to the next, which counts as often

    def step(
        self, batches: Sequence[list[int]], number: int, *, clip_norm: float | None, corrections: Sequence[Correction]
    ) -> Stepped:
        """Take one optimizer step on the mean loss over the counted targets of all `batches`.

        Args:
            number: of steps before it.
        """
        self.engine.zero_grad(set_to_none=True)
        total, tokens, targets = 0.0, 0, 0
        for rows in batches:
            loss, seen, counted = self.loss_of(rows)
            if self.penalty_of is not None and number % self.every == 0:
                loss = loss + self.every * self.penalty_of(rows)[0]
            loss.backward()  # type: ignore[no-untyped-call]
            total, tokens, targets = total + loss.item(), tokens + seen, targets + counted
        weights = [param for param in self.params.values() if param.grad is not None]
        torch._foreach_div_(
            [param.grad for param in weights if param.grad is not None], float(targets)
        )  # a sum over all batches becomes their mean
        norm = self.finish(corrections, clip_norm=clip_norm)
        return Stepped(loss=total / targets, norm=norm, tokens=tokens, targets=targets)

    def finish(self, corrections: Sequence[Correction], *, clip_norm: float | None = None) -> float:
        """Correct the gradients in place, shorten them if asked, and take the optimizer's step; return their norm before they were shortened."""
        for correct in corrections:
            correct(self.params)
        weights = [param for param in self.params.values() if param.grad is not None]
        norm = torch.nn.utils.get_total_norm([param.grad for param in weights if param.grad is not None])
        if clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(weights, clip_norm, norm)
        self.engine.step()
        return norm.item()


@dataclass(frozen=True, kw_only=True)
class Descents:
    """All losses of a training, in the order in which each step takes them."""

    parts: Sequence[Descent]

    def steps(
        self, batches: Iterator[list[list[int]]], first: int, *, clip_norm: float | None, corrections: Sequence[Correction]
    ) -> Iterator[Stepped]:
        """Take a step for each group of batches, and yield what it saw.

        Args:
            first: steps that were taken in earlier rounds, by which penalties are due.
        """
        everything = {name: param for part in self.parts for name, param in part.params.items()}
        for number, group in enumerate(batches, start=first):
            found = []
            for part in self.parts:
                with requiring(everything, part.params):
                    found.append(part.step(group, number, clip_norm=clip_norm, corrections=corrections))
            loss, norm = math.fsum(each.loss for each in found), max(each.norm for each in found)
            yield Stepped(loss=loss, norm=norm, tokens=found[0].tokens, targets=found[0].targets)

    def noised(self, mean_of: Callable[[], float], corrections: Sequence[Correction]) -> Iterator[Stepped]:
        """Take an optimizer step on what `mean_of` leaves behind at the weights; tokens and targets are nobody's business."""
        (part,) = self.parts
        while True:
            loss = mean_of()
            yield Stepped(loss=loss, norm=part.finish(corrections), tokens=0, targets=0)

    def set_rate(self, rate: float) -> None:
        """Let the next step be one of this learning rate."""
        for part in self.parts:
            set_rate(part.engine, rate)

    def close(self, *, keep: bool) -> dict[str, Tensor]:
        """Forget the gradients, which are as large as the weights; return what the optimizers remember, if it is to be kept."""
        kept: dict[str, Tensor] = {}
        for part in self.parts:
            kept |= moments_of(part.engine, part.params) if keep else {}
            part.engine.zero_grad(set_to_none=True)
        return kept


def descents_of(work: Training, params: Mapping[str, nn.Parameter]) -> Descents:
    """Return the losses of a training, each with the weights that it moves.

    Raises:
        SettingError: if a loss moves no weight that is under training.
    """
    worker, shard = work.worker, work.shard
    if work.loss_of is not None or work.private is not None:
        return Descents(parts=[_descent(work, dict(params), work.loss_of or task_loss(worker, shard))])
    parts = []
    for objective in worker.task.objectives(worker):
        own = {name: param for name, param in params.items() if objective.part is None or objective.part in name.split(".")}
        if not own and params:
            raise SettingError(
                f"nothing of the {objective.part} is under training, and the task trains it in each step; choose tuning: lora or full"
            )
        penalty = objective.penalty
        parts.append(
            replace(
                _descent(work, own, _on_rows(worker, shard, objective.loss), betas=objective.betas),
                penalty_of=None if penalty is None else _on_rows(worker, shard, penalty.loss),
                every=1 if penalty is None else penalty.every,
            )
        )
    return Descents(parts=parts)


def task_loss(worker: Worker, shard: Shard) -> LossOf:
    """Return the task's loss on rows of `shard`."""
    return _on_rows(worker, shard, worker.loss)


def _descent(
    work: Training, params: dict[str, nn.Parameter], loss_of: LossOf, *, betas: tuple[float, float] = (0.9, 0.999)
) -> Descent:
    engine = make_optimizer(params, work.settings, heads=work.worker.heads, betas=betas)
    restore_moments(engine, params, work.optimizer)
    return Descent(params=params, engine=engine, loss_of=loss_of)


def _on_rows(worker: Worker, shard: Shard, loss: LossOfBatch) -> LossOf:
    """Return a loss of a batch as one of rows of `shard`."""

    def loss_of(rows: list[int]) -> tuple[Tensor, int, int]:
        batch = worker.batch(shard, rows)
        found, counted = loss(batch)
        return found, batch.tokens, counted

    return loss_of


@contextmanager
def requiring(everything: Mapping[str, nn.Parameter], trained: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Let what is under training require gradients inside the block, and nothing else."""
    before = {name: param.requires_grad for name, param in everything.items()}
    for name, param in everything.items():
        param.requires_grad_(name in trained)
    try:
        yield
    finally:
        for name, param in everything.items():
            param.requires_grad_(before[name])
