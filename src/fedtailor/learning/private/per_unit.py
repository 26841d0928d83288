"""The sum of clipped gradients of units, in the way that the model allows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ...tensors import norm
from .sources import Mixed, Source, Units, sources_of

Unit = Sequence[int]  # rows of one unit
LossOf = Callable[[list[int]], tuple[Tensor, int, int]]  # rows -> sum of the loss, tokens seen, targets counted
AGREE = 0.02  # relative difference between the sum over units and the gradient of the batch (in bfloat16 too), above which a source has not heard all


@dataclass(kw_only=True)
class ClippedSum:
    """What some units gave together."""

    total: dict[str, Tensor] = field(default_factory=dict)  # sum of clipped gradients, float32, by name
    losses: list[float] = field(default_factory=list)  # mean loss of each unit, over its targets
    clipped: int = 0  # units whose gradient was longer than the clip

    def add(self, gradients: Mapping[str, Tensor]) -> None:
        """Add to the sum."""
        for name, value in gradients.items():
            self.total[name] = self.total[name].add_(value) if name in self.total else value.detach().clone()


@dataclass(kw_only=True)
class PerUnit:
    """Computes sums of clipped gradients: from the layers of one pass over a batch where that can be, else one unit at a time."""

    params: Mapping[str, nn.Parameter]  # under training
    loss_of: LossOf
    counted_N: Tensor | None  # targets of each row, int64; None: unknown, so that units cannot share a pass
    clip: float
    batch_size: int  # rows in one pass
    sources: Sequence[Source] | None  # None: one unit at a time
    checked: bool = False  # whether the sources were held against the gradient of a whole batch

    @classmethod
    def of(
        cls,
        model: nn.Module,
        params: Mapping[str, nn.Parameter],
        *,
        loss_of: LossOf,
        counted_N: Tensor | None,
        clip: float,
        batch_size: int,
    ) -> "PerUnit":
        """Return what computes the sums for a model; rows that a pass takes one by one share nothing."""
        alone = counted_N is None or getattr(model, "padding_side", "right") == "none"
        sources = None if alone else sources_of(model, params)
        return cls(params=params, loss_of=loss_of, counted_N=counted_N, clip=clip, batch_size=batch_size, sources=sources)

    def add(self, units: Sequence[Unit], to: ClippedSum) -> None:
        """Add the clipped gradients of some units; each unit's is that of its mean loss over its counted targets."""
        for group in _groups(units, self.batch_size):
            if self.sources is None or not self._together(group, to):
                self._alone(group, to)

    def _together(self, units: Sequence[Unit], to: ClippedSum) -> bool:
        """Add units that share passes; return False, and nothing is added, if the sources turn out not to hear them apart."""
        assert self.sources is not None
        assert self.counted_N is not None
        place = Units(count=len(units))
        rows = [(row, number) for number, unit in enumerate(units) for row in unit]
        counted_U = torch.zeros(len(units)).index_add_(
            0, torch.tensor([number for _, number in rows]), self.counted_N[[row for row, _ in rows]].float()
        )
        total_loss = counted = 0.0
        try:
            with ExitStack() as listening:
                for source in self.sources:
                    listening.enter_context(source.listening(place))
                for begin in range(0, len(rows), self.batch_size):
                    some = rows[begin : begin + self.batch_size]
                    place.of_rows_B = torch.tensor([number for _, number in some])
                    loss, _, targets = self.loss_of([row for row, _ in some])
                    loss.backward()  # type: ignore[no-untyped-call]
                    total_loss, counted = total_loss + loss.item(), counted + targets
        except Mixed:
            self.sources = None
            return False
        if not self.checked and not (counted == float(counted_U.sum()) and self._hears_all(len(units))):
            self.sources = None
            return False
        self.checked = True
        _forget(self.params)
        squares_U = torch.stack([source.squares().cpu() for source in self.sources]).sum(0)
        factor_U = (self.clip / (squares_U.sqrt() / counted_U).clamp(min=1e-30)).clamp(max=1.0)
        for source in self.sources:
            to.add(source.weighted(factor_U / counted_U))
        to.clipped += int((factor_U < 1).sum())
        to.losses += [total_loss / counted] * len(units)
        return True

    def _hears_all(self, count: int) -> bool:
        """Return whether the sums over units are the gradients of the whole batch, which autograd has left behind."""
        assert self.sources is not None
        found = {name: value for source in self.sources for name, value in source.weighted(torch.ones(count)).items()}
        pairs = [(param.grad, found[name]) for name, param in self.params.items() if param.grad is not None]
        apart = sum(float((grad - heard).square().sum()) for grad, heard in pairs)
        return apart <= AGREE**2 * sum(float(grad.square().sum()) for grad, _ in pairs)

    def _alone(self, units: Sequence[Unit], to: ClippedSum) -> None:
        """Add units one at a time."""
        for unit in units:
            _forget(self.params)
            total_loss, counted = 0.0, 0
            for begin in range(0, len(unit), self.batch_size):
                loss, _, targets = self.loss_of(list(unit[begin : begin + self.batch_size]))
                loss.backward()  # type: ignore[no-untyped-call]
                total_loss, counted = total_loss + loss.item(), counted + targets
            grads = {name: param.grad for name, param in self.params.items() if param.grad is not None}
            length = norm(grads) / counted
            factor = min(1.0, self.clip / max(length, 1e-30))
            to.add({name: grad * (factor / counted) for name, grad in grads.items()})
            to.clipped += factor < 1
            to.losses.append(total_loss / counted)
        _forget(self.params)


def _groups(units: Sequence[Unit], rows: int) -> Iterator[list[Unit]]:
    """Yield units together as long as they have no more than so many rows; a larger one comes by itself."""
    group: list[Unit] = []
    for unit in units:
        if group and sum(map(len, group)) + len(unit) > rows:
            yield group
            group = []
        group.append(unit)
    if group:
        yield group


def _forget(params: Mapping[str, nn.Parameter]) -> None:
    for param in params.values():
        param.grad = None
