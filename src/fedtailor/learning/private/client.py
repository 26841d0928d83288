"""One client's DP-SGD: its units, its steps, and what it has spent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import ClientError
from ...privacy import BUDGET_FILE, Budget, noise
from ...privacy.accountant import Release
from ...records import ClientId
from ...tasks.shard import Shard, TokenShard, counted_targets
from .per_unit import ClippedSum, LossOf, PerUnit, Unit
from .settings import DpSgd, Schedule

SLACK = 1e-5  # part of the clip by which rounding of float32 may lengthen a gradient
PUBLIC = (
    "(epsilon {epsilon}, delta {delta}) for adding or removing UNIT of one client, against whoever sees all updates that the client sends, the server "
    "included, but not which steps drew them; how many units a client has counts as known, and metrics of its validation and test parts are not covered"
)
KNOWING = "against someone who also knows which steps drew them, epsilon is {epsilon} for what {rounds} steps drew: hardly one unit in a thousand is drawn more often"


class BudgetSpent(ClientError):
    """A client was asked for a round that would pass its privacy budget."""


@dataclass(kw_only=True)
class PrivateClient:
    """Draws units by coins, sums their clipped gradients with noise, and writes each round down before it begins."""

    id: ClientId
    schedule: Schedule
    units: Sequence[Unit]  # rows of each
    file: Path | None  # where rounds are written down; None: in memory alone
    _budget: Budget | None = field(default=None, init=False)

    @property
    def settings(self) -> DpSgd:
        """Those of the job."""
        return self.schedule.settings

    @property
    def budget(self) -> Budget:
        """What the client has spent; the file is read when it is first asked for.

        Raises:
            ResumeError: if the file is damaged.
        """
        if self._budget is None:
            schedule, z = self.schedule, self.schedule.noise_multiplier
            self._budget = Budget(
                delta=self.settings.delta,
                most=self.settings.epsilon,
                next=Release(noise_multiplier=z, rate=schedule.rate, count=schedule.steps),
                seen=Release(noise_multiplier=z, rate=1.0),
                words=(PUBLIC.replace("UNIT", self.settings.unit_name), KNOWING),
                own=True,
            )
            if self.file is not None:
                self._budget.open(self.file)
        return self._budget

    def begin(self) -> None:
        """Write down one more round, before any of its steps.

        Raises:
            BudgetSpent: if the budget does not reach for it; nothing is written then.
        """
        if not self.budget.affords():
            raise BudgetSpent(
                f"client {self.id!r} has spent its privacy budget: epsilon {self.budget.epsilon():.4g} of {self.budget.most:g}"
            )
        self.budget.charge([self.id])

    def steps(
        self, worker_model: nn.Module, shard: Shard, params: Mapping[str, nn.Parameter], loss_of: LossOf, batch_size: int
    ) -> Callable[[], float]:
        """Return what leaves the noised mean gradient of one step behind at `params`, and returns the mean loss of the units that it drew.

        Args:
            worker_model: with the tuning in place.
            shard: the client's training part.
            params: under training.
            loss_of: the loss on some rows of `shard`.
            batch_size: rows in one pass.
        """
        counted_N = counted_targets(shard) if isinstance(shard, TokenShard) else torch.ones(len(shard), dtype=torch.int64)
        gradients = PerUnit.of(
            worker_model, params, loss_of=loss_of, counted_N=counted_N, clip=self.settings.clip, batch_size=batch_size
        )

        def step() -> float:
            found = ClippedSum()
            gradients.add([self.units[unit] for unit in drawn(len(self.units), self.schedule.rate)], found)
            self.release(params, found.total)
            return sum(found.losses) / len(found.losses) if found.losses else 0.0

        return step

    def release(self, params: Mapping[str, nn.Parameter], total: Mapping[str, Tensor]) -> None:
        """Set gradients to a sum of clipped ones with noise, over the number of units that is expected.

        Values stand on a lattice of clip / 2^20 before noise is added: rounding a sum moves each value by a step at most, so that the sum changes by
        clip + step sqrt(d) at most where one unit is added, and the noise is as much larger.
        """
        clip, z = self.settings.clip, self.schedule.noise_multiplier
        size = sum(param.numel() for param in params.values())
        step = clip * noise.LATTICE
        deviation = z * (1 + SLACK + noise.LATTICE * size**0.5) / noise.LATTICE
        for name, param in params.items():
            whole = np.zeros(param.numel(), dtype=np.int64)
            if name in total:
                whole = noise.on_lattice(np.ascontiguousarray(total[name].detach().cpu().double().numpy()).reshape(-1), step)
            noised = whole + noise.lattice_noise(param.numel(), deviation, noise.system_bytes)
            gradient = torch.from_numpy(noised * (step / self.schedule.divisor)).reshape(param.shape)
            param.grad = gradient.to(param)


def drawn(count: int, rate: float) -> list[int]:
    """Return which of so many units a step draws: each by a coin of its own, from the system's source."""
    words = np.frombuffer(noise.system_bytes(8 * count), dtype="<u8")
    return np.flatnonzero(words < np.uint64(min(int(rate * 2**64), 2**64 - 1))).tolist() if rate < 1 else list(range(count))


def units_of(values: Sequence[object] | None, rows: int, *, most_rows: int) -> tuple[list[Unit], int]:
    """Return the rows of each unit, and how many rows are left out.

    Args:
        values: the column that names the unit of each row; None: each row is one.
        rows: of the training part.
        most_rows: of one unit that are used: the first ones.
    """
    if values is None:
        return [[row] for row in range(rows)], 0
    groups: dict[object, list[int]] = {}
    for row, value in enumerate(values):
        groups.setdefault(value, []).append(row)
    kept = [group[:most_rows] for group in groups.values()]
    return list(kept), rows - sum(map(len, kept))


__all__ = ["BUDGET_FILE", "BudgetSpent", "PrivateClient", "units_of"]
