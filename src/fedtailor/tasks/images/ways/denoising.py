"""Pictures out of noise in many small steps: the model is trained on pictures with some noise, and followed back from noise alone."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ....pictures import Canvas
from ...evaluation import Pass
from ...losses import Losses
from ...task import Bench, Objective
from ..flow import drawn_like, fixed_noise, fixed_times, flow_losses, guided, integrate, velocity_of
from ..shard import PictureBatch, PictureShard, picture_batch
from .way import Shown


class Denoising:
    """Flow matching; see `flow`."""

    def objectives(self, worker: Bench, shown: Shown) -> list[Objective]:
        """Return the one loss: of the velocity at drawn times, on pictures some of which are mirrored, some of whose labels are left out."""
        null = worker.processor.classes

        def loss(batch: PictureBatch) -> tuple[Tensor, int]:
            label_B = batch.labels_B
            noise_BCHW, time_B = drawn_like(batch.pixels_BCHW)
            pixels_BCHW = shown.mirrored(batch.pixels_BCHW)
            if label_B is not None and shown.label_dropout:
                unseen_B = torch.rand(len(label_B)).to(label_B.device) < shown.label_dropout
                label_B = torch.where(unseen_B, null, label_B)
            with worker.precision():
                return flow_losses(velocity_of(worker.model), pixels_BCHW, noise_BCHW, time_B, label_B).sum(), len(pixels_BCHW)

        return [Objective(name="loss", loss=loss)]

    def losses(self, worker: Bench, shard: PictureShard, how: Pass) -> Losses:
        """Return the sums of the loss over `shard`, each picture at fixed times and with the noise that follows from its pixels.

        So the figure of two rounds, clients or runs differs by their weights alone. Nothing is mirrored, and every label is shown.
        """
        velocity, times_Q = velocity_of(worker.model), fixed_times().to(worker.device)

        def of_rows(rows: Sequence[int]) -> tuple[float, int, None]:
            batch = picture_batch(shard, rows, worker.device)
            quantiles = len(times_Q)
            noise = fixed_noise(batch.seeds_B.tolist(), (quantiles, *batch.pixels_BCHW.shape[1:])).flatten(0, 1).to(worker.device)
            pixels, time = batch.pixels_BCHW.repeat_interleave(quantiles, 0), times_Q.repeat(len(rows))
            label = None if batch.labels_B is None else batch.labels_B.repeat_interleave(quantiles)
            return flow_losses(velocity, pixels, noise, time, label).sum().item() / quantiles, len(rows), None

        return how.sums(shard, of_rows, batch_size=worker.evaluation.batch_size)

    def draw(
        self, model: nn.Module, canvas: Canvas, noise: Tensor, label_B: Tensor | None, *, steps: int, guidance: float
    ) -> Tensor:
        """Return pictures in `steps` steps, guided by what the model answers to no label; see `Way.draw`."""
        velocity = velocity_of(model)
        return integrate(velocity if guidance == 1 else guided(velocity, guidance, canvas.classes), noise, label_B, steps=steps)
