"""Pictures out of noise in one step: a generator learns to make what a discriminator, which learns beside it, takes for real pictures.

Source: Goodfellow et al., 2014, arXiv:1406.2661, with the non-saturating loss of its section 3, and R1 of Mescheder et al., 2018, arXiv:1801.04406,
equation 9, every 8th step and counted 8 times, as Karras et al., 2020, arXiv:1912.04958, appendix B. At the equilibrium the discriminator's loss is 2 ln 2
and the generator's ln 2, however good the pictures are: so there is no held-out loss.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ....pictures import DISCRIMINATOR, GENERATOR, Canvas
from ...evaluation import Pass
from ...task import Bench, Objective, Penalty
from ..shard import PictureBatch, PictureShard
from .way import Shown

GAMMA = 1.0  # of R1
EVERY = 8  # steps from one R1 to the next
BETAS = (0.0, 0.99)  # of both optimizers


class Adversarial:
    """A generator against a discriminator, each a step at a time: the discriminator first."""

    def objectives(self, worker: Bench, shown: Shown) -> list[Objective]:
        """Return the losses of both; noise is drawn from torch's global stream on the CPU, for each of its own."""
        model: Any = worker.model

        def made(count: int) -> Tensor:
            pictures: Tensor = model.generator(torch.randn(count, *worker.processor.noise_shape).to(worker.device))
            return pictures

        def judge(batch: PictureBatch) -> tuple[Tensor, int]:
            real_BCHW = shown.mirrored(batch.pixels_BCHW)
            with torch.no_grad():
                made_BCHW = made(len(real_BCHW))
            loss = softplus(-model.discriminator(real_BCHW)).sum() + softplus(model.discriminator(made_BCHW)).sum()
            return loss, len(real_BCHW)

        def slope(batch: PictureBatch) -> tuple[Tensor, int]:
            real_BCHW = shown.mirrored(batch.pixels_BCHW).requires_grad_(True)
            (slope_BCHW,) = torch.autograd.grad(model.discriminator(real_BCHW).sum(), real_BCHW, create_graph=True)
            return GAMMA / 2 * slope_BCHW.square().sum(), len(real_BCHW)

        def deceive(batch: PictureBatch) -> tuple[Tensor, int]:
            count = len(batch.pixels_BCHW)
            return softplus(-model.discriminator(made(count))).sum(), count

        return [
            Objective(name=DISCRIMINATOR, loss=judge, penalty=Penalty(loss=slope, every=EVERY), part=DISCRIMINATOR, betas=BETAS),
            Objective(name=GENERATOR, loss=deceive, part=GENERATOR, betas=BETAS),
        ]

    def losses(self, worker: Bench, shard: PictureShard, how: Pass) -> None:
        """Return nothing: neither loss says how good the pictures are."""

    def draw(
        self, model: nn.Module, canvas: Canvas, noise: Tensor, label_B: Tensor | None, *, steps: int, guidance: float
    ) -> Tensor:
        """Return pictures in one step, whatever `steps` says; see `Way.draw`."""
        generator: Any = model
        pictures: Tensor = generator.generator(noise)
        return pictures.float()
