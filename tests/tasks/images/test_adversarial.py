"""The losses of a GAN by hand, and who is trained by which."""

import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fedtailor.pictures import Canvas
from fedtailor.tasks import ImageGeneration
from fedtailor.tasks.images.shard import PictureBatch
from fedtailor.tasks.images.ways import Shown, way_of


class Networks(nn.Module):
    """Makes pictures that are 1 all over, and takes the sum of a picture times `slope` for its logit."""

    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))
        self.made = nn.Parameter(torch.ones(()))

    def generator(self, noise):
        return self.made * torch.ones(len(noise), 3, 2, 2)

    def discriminator(self, pixels):
        return self.slope * pixels.sum((1, 2, 3))


@pytest.fixture
def worker():
    canvas = Canvas(size=2, noise=(5,), answers="adversarial")
    return SimpleNamespace(model=Networks(0.1), processor=canvas, device=torch.device("cpu"), precision=nullcontext)


def batch(value):
    return PictureBatch(
        pixels_BCHW=torch.full((4, 3, 2, 2), value), labels_B=None, seeds_B=torch.zeros(4, dtype=torch.int64), tokens=4
    )


def test_the_losses_are_those_of_the_paper(worker):
    judge, deceive = way_of(worker.processor).objectives(worker, Shown(flip=True, label_dropout=0.1))
    # a real picture of -1 has the logit -1.2, a made one 1.2: -ln s(-1.2) - ln(1 - s(1.2)), twice ln(1 + e^1.2)
    loss, count = judge.loss(batch(-1.0))
    assert (loss.item(), count) == (pytest.approx(4 * 2 * math.log1p(math.exp(1.2)), rel=1e-6), 4)
    # to deceive is to have made pictures taken for real: -ln s(1.2)
    loss, count = deceive.loss(batch(-1.0))
    assert (loss.item(), count) == (pytest.approx(4 * math.log1p(math.exp(-1.2)), rel=1e-6), 4)
    # R1: half the squared slope by the picture, 12 values of 0.1 each
    penalty, _ = judge.penalty.loss(batch(-1.0))
    assert penalty.item() == pytest.approx(4 * 0.5 * 12 * 0.01, rel=1e-6)
    penalty.backward()
    assert worker.model.slope.grad.item() == pytest.approx(4 * 12 * 0.1, rel=1e-6)  # d/ds of 12 s²/2
    assert (judge.part, deceive.part, judge.penalty.every, judge.betas) == ("discriminator", "generator", 8, (0.0, 0.99))


def test_made_pictures_teach_the_discriminator_without_moving_the_generator(worker):
    judge, _ = way_of(worker.processor).objectives(worker, Shown(flip=False, label_dropout=0.0))
    judge.loss(batch(1.0))[0].backward()
    assert worker.model.made.grad is None


def test_what_stays_home_are_the_weights_of_the_discriminator():
    names = ["base_model.model.discriminator.conv1.weight", "base_model.model.generator.conv1.lora_A.weight"]
    task = ImageGeneration(objective="adversarial", condition="none")
    assert task.stays_home(names) == {names[0]}
    averaged = ImageGeneration(objective="adversarial", condition="none", discriminator="averaged")
    assert averaged.stays_home(names) == ImageGeneration(condition="none").stays_home(names) == frozenset()
