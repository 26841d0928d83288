"""Pictures out of noise in many small steps: the model is trained on pictures with some noise, and followed back from noise alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ....pictures import Canvas
from ...evaluation import Pass
from ...losses import Losses
from ...task import Bench, Objective
from ..flow import fixed_noise
from ..path import Answer, Path, guided
from ..shard import PictureBatch, PictureShard, picture_batch
from .way import Shown


def answer_of(model: nn.Module) -> Answer:
    """Return what a model of diffusers answers, in float32."""

    def answer(noisy_BCHW: Tensor, time_B: Tensor, label_B: Tensor | None) -> Tensor:
        said: Any = model(noisy_BCHW, time_B, label_B) if label_B is not None else model(noisy_BCHW, time_B)
        found: Tensor = said.sample.float()
        return found

    return answer


@dataclass(frozen=True, kw_only=True)
class Denoising:
    """Training at drawn times of a path, and sampling along it."""

    path: Path

    def objectives(self, worker: Bench, shown: Shown) -> list[Objective]:
        """Return the one loss: of the answers at drawn times, on pictures some of which are mirrored, some of whose labels are left out."""
        null = worker.processor.classes

        def loss(batch: PictureBatch) -> tuple[Tensor, int]:
            label_B = batch.labels_B
            noise_BCHW = torch.randn(batch.pixels_BCHW.shape).to(
                worker.device
            )  # on the CPU first, so that every device has the same
            time_B = self.path.drawn(len(noise_BCHW)).to(worker.device)
            pixels_BCHW = shown.mirrored(batch.pixels_BCHW)
            if label_B is not None and shown.label_dropout:
                unseen_B = torch.rand(len(label_B)).to(label_B.device) < shown.label_dropout
                label_B = torch.where(unseen_B, null, label_B)
            with worker.precision():
                found_B = self.path.losses(answer_of(worker.model), pixels_BCHW, noise_BCHW, time_B, label_B)
            return found_B.sum(), len(pixels_BCHW)

        return [Objective(name="loss", loss=loss)]

    def losses(self, worker: Bench, shard: PictureShard, how: Pass) -> Losses:
        """Return the sums of the loss over `shard`, each picture at fixed times and with the noise that follows from its pixels.

        So the figure of two rounds, clients or runs differs by their weights alone. Nothing is mirrored, and every label is shown.
        """
        answer, times_Q = answer_of(worker.model), self.path.fixed().to(worker.device)

        def of_rows(rows: Sequence[int]) -> tuple[float, int, None]:
            batch = picture_batch(shard, rows, worker.device)
            quantiles = len(times_Q)
            noise = fixed_noise(batch.seeds_B.tolist(), (quantiles, *batch.pixels_BCHW.shape[1:])).flatten(0, 1).to(worker.device)
            pixels, time = batch.pixels_BCHW.repeat_interleave(quantiles, 0), times_Q.repeat(len(rows))
            label = None if batch.labels_B is None else batch.labels_B.repeat_interleave(quantiles)
            return self.path.losses(answer, pixels, noise, time, label).sum().item() / quantiles, len(rows), None

        return how.sums(shard, of_rows, batch_size=worker.evaluation.batch_size)

    def draw(
        self, model: nn.Module, canvas: Canvas, noise: Tensor, label_B: Tensor | None, *, steps: int, guidance: float
    ) -> Tensor:
        """Return pictures in `steps` steps, guided by what the model answers to no label; see `Way.draw`."""
        answer = answer_of(model)
        return self.path.sample(
            answer if guidance == 1 else guided(answer, guidance, canvas.classes), noise, label_B, steps=steps
        )
