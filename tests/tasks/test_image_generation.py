"""Flow matching, held-out figures that hang on nothing but the weights, and what may be said of a model's pictures."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from denoisers import LABELS, SIZE, picture_rows
from torch import nn

from fedtailor.errors import SettingError
from fedtailor.pictures import Canvas, picture_of
from fedtailor.records import Example
from fedtailor.tasks import Evaluation, ImageGeneration
from fedtailor.tasks.evaluation import Pass
from fedtailor.tasks.images.flow import Flow, sample_noise, to_pixels
from fedtailor.tasks.images.path import guided


class Answers(nn.Module):
    """Answers as `answer` does, and notes what it is asked."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.asked = answer, []

    def forward(self, noisy, time, label=None):
        self.asked.append((noisy, time, label))
        return SimpleNamespace(sample=self.answer(noisy, time, label))


def bench(answer, task=None, batch_size=16):
    from contextlib import nullcontext

    return SimpleNamespace(
        task=task or ImageGeneration(size=SIZE, labels=LABELS),
        model=Answers(answer),
        processor=Canvas(size=SIZE, classes=3),
        device=torch.device("cpu"),
        evaluation=Evaluation(batch_size=batch_size),
        precision=nullcontext,
    )


def shard_of(worker, each=3, **more):
    rows = picture_rows(each)
    examples = [
        Example(id=str(n), fields={"image": picture_of(row["image"]), "label": row["label"]}) for n, row in enumerate(rows)
    ]
    return worker.task.prepare(examples, worker.processor, keep_examples=False, **more)


def test_a_model_that_knows_the_noise_has_no_loss():
    # x(s) = (1 - s) x + s e; with x all 0, e = x(s) / s, and the velocity e - 0 is that
    worker = bench(lambda noisy, time, label: noisy / (time / 1000)[:, None, None, None])
    shard = shard_of(worker)
    batch = worker.task.batch(worker, shard, range(len(shard)))
    grey = type(batch)(**{**vars(batch), "pixels_BCHW": torch.zeros_like(batch.pixels_BCHW)})
    (objective,) = worker.task.objectives(worker)
    loss, count = objective.loss(grey)
    assert count == 9
    assert loss.item() == pytest.approx(0, abs=1e-4)


def test_a_model_that_answers_0_has_the_square_of_the_velocity():
    # of pictures all -1 and noise of mean square 1: the mean of (e + 1)^2 is 2
    worker = bench(lambda noisy, time, label: torch.zeros_like(noisy))
    black = [
        Example(id=str(n), fields={"image": picture_of(np.full((SIZE, SIZE, 3), n, np.uint8)), "label": "red"}) for n in range(2)
    ]
    found = worker.task.measure(worker, worker.task.prepare(black, worker.processor, keep_examples=False), Pass())
    assert found.figures["loss"] == pytest.approx(2, rel=0.03)
    assert found.figures["examples"] == 2


def test_the_held_out_loss_hangs_on_the_weights_alone():
    def answer(noisy, time, label):
        return noisy * 0.3 + label[:, None, None, None] * 0.1

    together, alone = bench(answer), bench(answer, batch_size=1)
    shard = shard_of(together)
    order = [4, 8, 0, 2, 6, 1, 3, 5, 7]
    torch.manual_seed(7)
    first = together.task.losses(together, shard, Pass()).total
    assert alone.task.losses(alone, shard.select(order), Pass()).total == pytest.approx(first, rel=1e-5)
    assert {label for _, _, label in together.model.asked for label in label.tolist()} == {0, 1, 2}  # no label is dropped
    assert Flow().fixed().tolist() == pytest.approx([0.177, 0.292, 0.380, 0.461, 0.539, 0.620, 0.708, 0.823], abs=2e-3)


def test_labels_are_dropped_and_pictures_mirrored_in_training():
    torch.manual_seed(0)
    worker = bench(
        lambda noisy, time, label: torch.zeros_like(noisy), ImageGeneration(size=SIZE, labels=LABELS, label_dropout=0.5)
    )
    shard = shard_of(worker, each=40)
    (objective,) = worker.task.objectives(worker)
    objective.loss(worker.task.batch(worker, shard, range(len(shard))))
    ((_, _, label),) = worker.model.asked
    assert 40 < int((label == 3).sum()) < 80  # the row behind the classes stands for no label
    ramp = torch.arange(8.0).expand(1, 3, 8, 8) / 8
    batch = type(worker.task.batch(worker, shard, [0]))(
        pixels_BCHW=ramp.repeat(200, 1, 1, 1), labels_B=None, seeds_B=torch.zeros(1), tokens=1
    )
    for flip, turned in ((True, True), (False, False)):
        seen = bench(lambda noisy, time, label: torch.zeros_like(noisy), ImageGeneration(size=SIZE, condition="none", flip=flip))
        (objective,) = seen.task.objectives(seen)
        objective.loss(batch)
        ((noisy, time, _),) = seen.model.asked
        clear = noisy[time < 250].mean((0, 1, 2))
        assert bool(clear[0] > 0.2) is turned  # the left edge is 0 unless half of the pictures are turned


def test_samples_hang_on_their_number_alone():
    one = sample_noise(3, [5], (3, 4, 4))
    assert torch.equal(one[0], sample_noise(3, [1, 5, 2], (3, 4, 4))[1])
    assert not torch.equal(one, sample_noise(4, [5], (3, 4, 4)))


def test_integrating_a_straight_flow_is_exact_in_any_number_of_steps():
    noise, picture = torch.randn(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)
    for steps in (1, 7):
        assert torch.allclose(
            Flow().sample(lambda at, time, label: noise - picture, noise, None, steps=steps), picture, atol=1e-6
        )
    assert to_pixels(picture)[0, 0, 0].tolist() == [191, 191, 191]


def test_guidance_goes_beyond_the_answer_with_a_label():
    # 2 with the label 0, 1 without: at scale 3 the answer is 1 + 3 * (2 - 1) = 4
    velocity = guided(lambda at, time, label: torch.where(label == 3, 1.0, 2.0)[:, None, None, None].expand_as(at), 3.0, 3)
    assert velocity(torch.zeros(1, 3, 2, 2), torch.ones(1), torch.tensor([0])).unique().tolist() == [4]


def test_smaller_pictures_are_left_out_or_made_larger():
    small = [Example(id="a", fields={"image": picture_of(np.zeros((4, 9, 3), np.uint8)), "label": "red"})]
    task = ImageGeneration(size=SIZE, labels=LABELS)
    assert "smaller than task.size = 8" in task.prepare(small, Canvas(size=SIZE, classes=3), keep_examples=False).dropped[0][1]
    larger = ImageGeneration(size=SIZE, labels=LABELS, enlarge=True).prepare(
        small, Canvas(size=SIZE, classes=3), keep_examples=True
    )
    assert larger.pixels_NCHW.shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"size": 2}, "at least 4"),
        ({"condition": "caption"}, "class or none"),
        ({"label_dropout": 1}, "below 1"),
        ({"condition": "none", "labels": ["a", "b"]}, "no use"),
        ({"labels": ["a", "a"]}, "distinct"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(settings, text):
    with pytest.raises(SettingError, match=text):
        ImageGeneration(**settings)
