"""Made pictures beside real ones: which labels are asked for, what a collapse and a copy look like in the figures."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from denoisers import gan_folder  # noqa: F401  a fixture

from fedtailor.errors import SettingError
from fedtailor.models import load_backbone
from fedtailor.tasks import Evaluation
from fedtailor.tasks.images import compare as module
from fedtailor.tasks.images.compare import compare
from fedtailor.tasks.images.samples import Sampling, make_pictures
from fedtailor.tasks.images.settings import Samples, labels_to_ask
from fedtailor.tasks.images.shard import PictureShard

SIZE = 4


class Pixels:
    """The pixels themselves, in the place of a network's features."""

    def of(self, pixels_NCHW):
        return pixels_NCHW.flatten(1).numpy() / 255


def pictures(count, seed):
    draw = torch.Generator().manual_seed(seed)
    tone = torch.randint(0, 200, (count, 3, 1, 1), generator=draw)
    return (tone + torch.randint(0, 40, (count, 3, SIZE, SIZE), generator=draw)).to(torch.uint8)


def shard_of(pixels):
    return PictureShard(pixels_NCHW=pixels, seeds_N=torch.arange(len(pixels)))


def figures(monkeypatch, made, *, asked, real=None, train=None):
    def make(model, canvas, labels, how):
        assert len(labels) == 60
        return made[:60].permute(0, 2, 3, 1).numpy()

    monkeypatch.setattr(module, "make_pictures", make)
    worker = SimpleNamespace(
        evaluation=Evaluation(samples=Samples(count=60), features=Pixels()),
        model=None,
        processor=SimpleNamespace(classes=0),
        seed=0,
        task=None,
    )
    return compare(worker, shard_of(pictures(200, 1) if real is None else real), asked, train).figures


COVER = ("precision", "recall", "coverage")


def test_real_pictures_are_no_collapse_and_a_few_repeated_ones_are(monkeypatch):
    fine = figures(monkeypatch, pictures(60, 2), asked=COVER)
    few = figures(monkeypatch, pictures(5, 2).repeat_interleave(12, 0), asked=COVER)
    assert fine["samples_real"] == few["samples_real"] == 60
    assert fine["recall"] > 0.5 * fine["recall_real"] > 0.2
    assert few["recall"] < few["recall_real"] / 4
    assert fine["recall_real"] == few["recall_real"]


def test_real_pictures_in_the_place_of_made_ones_are_the_floor(monkeypatch):
    found = figures(monkeypatch, pictures(60, 2) // 8, asked=("fd", "kid"))
    assert found["fd"] > 5 * found["fd_real"] > 0
    assert found["kid"] > 5 * abs(found["kid_real"])


def test_copies_are_nearer_to_what_was_trained_on(monkeypatch):
    train, asked = pictures(60, 3), ("closer_to_training",)
    copied = figures(monkeypatch, train, asked=asked, train=shard_of(train))
    fresh = figures(monkeypatch, pictures(60, 4), asked=asked, train=shard_of(train))
    assert copied["closer_to_training"] == 1
    assert copied["nearest_training"] < 1e-6 < copied["nearest_held_out"]
    assert fresh["closer_to_training"] == pytest.approx(0.5, abs=0.25)


def test_a_client_reports_nothing_of_few_pictures_and_nothing_that_is_the_servers(monkeypatch):
    asked, train = (*COVER, "fd", "kid", "closer_to_training"), shard_of(pictures(60, 3))
    assert figures(monkeypatch, None, asked=asked, real=pictures(10, 1), train=train) == {"samples": 0}
    some = figures(monkeypatch, pictures(60, 2), asked=asked, real=pictures(60, 1), train=train)
    assert set(some) == {"samples", "closer_to_training", "nearest_training", "nearest_held_out"}
    enough = figures(monkeypatch, pictures(60, 2), asked=asked, real=pictures(200, 1), train=train)
    assert set(enough) == {*some, "kid"}


def test_labels_in_turn_or_as_often_as_they_occur():
    have = [7] * 60 + [5] * 30 + [9] * 10
    assert labels_to_ask(have, 7, "even") == [5, 7, 9, 5, 7, 9, 5]
    assert np.bincount(labels_to_ask(have, 10, "own"), minlength=10).tolist() == [0, 0, 0, 0, 0, 3, 0, 6, 0, 1]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"count": 1}, "count"),
        ({"labels": "all"}, "even or own"),
        ({"grid": [5]}, "rows, columns"),
        ({"grid": [5, 100]}, "1 to 40"),
        ({"steps": 0}, "steps"),
        ({"guidance": -1.0}, "guidance"),
    ],
    ids=["count", "labels", "one side", "too many", "steps", "guidance"],
)
def test_settings_that_cannot_be(settings, text):
    with pytest.raises(SettingError, match=text):
        Samples(**settings)


@pytest.mark.parametrize(
    ("metrics", "features", "text"),
    [
        (["kid"], None, "features: {kind: cifar"),
        (["cifar_fd"], Pixels(), "is called 'fd'"),
        (["class_entropy"], Pixels(), "have no classifier"),
    ],
    ids=["none", "name", "classes"],
)
def test_metrics_that_the_features_do_not_give(metrics, features, text):
    given = {} if features is None else {"features": features}
    with pytest.raises(SettingError, match=text):
        Evaluation(metrics=metrics, **given)


def test_a_generator_whose_noise_is_hardly_there_has_collapsed(gan_folder):  # noqa: F811
    found = load_backbone(str(gan_folder), kind="gan", labels=(), device=torch.device("cpu"), base=gan_folder.parent, seed=0)
    real = torch.from_numpy(make_pictures(found.model, found.processor, [0] * 200, Sampling(seed=1))).permute(0, 3, 1, 2)
    worker = SimpleNamespace(
        evaluation=Evaluation(samples=Samples(count=60), features=Pixels()),
        model=found.model,
        processor=found.processor,
        seed=0,
        task=None,
    )
    fine = compare(worker, shard_of(real), COVER, None).figures
    hook = found.model.generator.register_forward_pre_hook(lambda module, given: (given[0] * 0.01, *given[1:]))
    few = compare(worker, shard_of(real), COVER, None).figures
    hook.remove()
    assert fine["recall"] > fine["recall_real"] / 2 > 0.2
    assert few["recall"] < few["recall_real"] / 4
