"""A task without texts fits with what is its own: its shard, its batches, its loss and what it measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from fedtailor.errors import SettingError
from fedtailor.learning.local import LocalTraining
from fedtailor.learning.training import train_locally
from fedtailor.learning.work import Training
from fedtailor.learning.worker import Worker
from fedtailor.records import Example
from fedtailor.tasks import Evaluation
from fedtailor.tasks.evaluation import Measured
from fedtailor.tasks.losses import sum_losses
from fedtailor.tasks.shard import tokens_of
from fedtailor.tasks.task import Objective


@dataclass(frozen=True, kw_only=True)
class PointShard:
    """Points of a plane."""

    points_N2: Tensor
    dropped: Sequence[tuple[str, str]] = ()
    examples: Sequence[Example] = ()
    labels_N: Tensor | None = None

    def __len__(self):
        return len(self.points_N2)

    @property
    def sizes_N(self):
        return torch.ones(len(self), dtype=torch.int64)

    def select(self, rows):
        return PointShard(points_N2=self.points_N2[list(rows)])


@dataclass(frozen=True)
class Line:
    """The second number of a point from the first; nothing is tokenized, and there is no processor."""

    metrics = default_metrics = ("loss",)
    figures = ("loss", "examples")
    backbone = "line"

    def prepare(self, examples, processor, *, keep_examples):
        return PointShard(points_N2=torch.tensor([[e.fields["x"], e.fields["y"]] for e in examples]))

    def batch(self, worker, shard, rows):
        return SimpleNamespace(points=shard.points_N2[list(rows)], tokens=len(rows))

    def objectives(self, worker):
        def loss(batch):
            x, y = batch.points.T
            return (worker.model(x[:, None])[:, 0] - y).square().sum(), len(y)

        return [Objective(name="square", loss=loss)]

    def losses(self, worker, shard, how):
        def of_rows(rows):
            loss, count = worker.loss(worker.batch(shard, rows))
            return loss.item(), count, None

        return sum_losses(shard, of_rows, batch_size=worker.evaluation.batch_size, progress=how.progress)

    def measure(self, worker, shard, how):
        losses = how.known or self.losses(worker, shard, how)
        return Measured(figures={"loss": losses.total / losses.counted, "examples": len(shard)}, losses=losses)


@pytest.fixture
def worker():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    tuning = SimpleNamespace(parameters=lambda model: dict(model.named_parameters()))
    return Worker(
        model=model, processor=None, task=Line(), tuning=tuning, evaluation=Evaluation(), device=torch.device("cpu"), bfloat16=False, seed=0
    )  # fmt: skip


def points(worker):
    return worker.task.prepare(
        [Example(id=str(x), fields={"x": float(x), "y": 2.0 * x}) for x in (1, 2, 3)], None, keep_examples=False
    )


def test_it_is_measured(worker):
    # (2^2 + 4^2 + 6^2) / 3 with a weight of 0
    found = worker.evaluate(points(worker), generate=False)
    assert found.figures == {"loss": pytest.approx(56 / 3), "examples": 3}


def test_it_is_trained(worker):
    # gradient of the mean: 2 * (0 * 14 - 28) / 3; one step of 0.3 makes 5.6
    settings = LocalTraining(steps=1, batch_size=3, learning_rate=0.3, optimizer="sgd", clip_norm=None)
    done = train_locally(Training(worker=worker, shard=points(worker), settings=settings, round=1, client="a"))
    assert worker.model.weight.item() == pytest.approx(5.6)
    assert (done.tokens, done.targets) == (3, 3)


def test_who_needs_tokens_says_so(worker):
    with pytest.raises(SettingError, match="a PointShard holds no tokens"):
        tokens_of(points(worker))
