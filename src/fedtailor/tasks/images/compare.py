"""Pictures that a model makes, held against real ones by features of both; what is said of real pictures is of as many in their place.

Source of `closer_to_training`: Meehan, Chaudhuri and Dasgupta, 2020, arXiv:2004.05675, section 3: a sample that lies nearer to what was trained on
than to as many pictures that were not is a sign of memory; without it, half of them do.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...metrics.features import classes_of, frechet_of
from ...metrics.figure import METRICS, NEAREST, OF_PICTURES, OF_REAL
from ...metrics.pictures import cover, frechet_distance, kernel_distance, nearest
from ..task import Bench
from .samples import make_pictures
from .settings import labels_to_ask
from .shard import PictureShard

# N real pictures, M made ones, D features
LEAST_OWN = 200  # pictures that a client holds out, below which its kernel distance says too little
LEAST_APART = 20  # the same of the distances to training pictures
MOST_REAL = 10_000  # pictures that are compared with: kernels are taken of all pairs
NEIGHBOURS = 3


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What came of it."""

    figures: Mapping[str, float]
    histogram: Mapping[str, Mapping[str, int]]  # pictures of each class by the classifier, "made" and "real"; empty without one


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Features of both sides, and of real pictures in the place of made ones."""

    real_ND: np.ndarray
    made_MD: np.ndarray
    stand_in: np.ndarray  # rows of real pictures, at most half, as many as are made where there are so many
    others: np.ndarray  # the rows of the other real pictures

    @property
    def half(self) -> int:
        """How many pictures each side of a comparison by neighbours has."""
        return len(self.stand_in)


def compare(worker: Bench, shard: PictureShard, asked: Sequence[str], train: PictureShard | None) -> Compared:
    """Make pictures, and return how they compare with those of `shard`: at the server, or at a client that trained on `train`.

    Args:
        asked: metrics of pictures.

    Raises:
        SettingError: if the features are not to be had.
    """
    samples, place = worker.evaluation.samples, "server" if train is None else "client"
    wanted = [name for name in asked if name in OF_PICTURES and METRICS[name].of_pictures in (place, "both")]
    least = {"kid": 2 if train is None else LEAST_OWN, "closer_to_training": LEAST_APART}
    wanted = [name for name in wanted if len(shard) >= least.get(name, 2)]
    if not wanted:
        return Compared(figures={"samples": 0} if train is not None else {}, histogram={})
    count = samples.count if train is None else min(samples.count, len(shard))
    labels = asked_labels(worker, shard, count)
    made = torch.from_numpy(make_pictures(worker.model, worker.processor, labels, samples.sampling(worker.seed)))
    features = worker.evaluation.features
    real_ND = _features(features, some_of(shard.pixels_NCHW, MOST_REAL))
    made_MD = np.asarray(features.of(made.permute(0, 3, 1, 2).contiguous()))
    sides = _sides(real_ND, made_MD)
    figures: dict[str, float] = {"samples": count, **({f"samples{OF_REAL}": sides.half} if train is None else {})}
    for name in wanted:
        figures |= _distances(name, features, sides, train)
    if any(name in wanted for name in ("precision", "recall", "coverage")) and sides.half > NEIGHBOURS:
        figures |= {name: value for name, value in _cover(sides).items() if name.removesuffix(OF_REAL) in wanted}
    if "closer_to_training" in wanted and train is not None:
        figures |= _memory(features, sides, train)
    of_classes, histogram = _classes(worker, features, sides, labels, shard)
    return Compared(
        figures=figures | {name: value for name, value in of_classes.items() if name.removesuffix(OF_REAL) in wanted},
        histogram=histogram,
    )


def asked_labels(worker: Bench, shard: PictureShard, count: int) -> list[int]:
    """Return the class number of each of `count` pictures, from what `shard` has; the number for no label where a model takes none."""
    if shard.labels_N is None or not len(shard):
        return [number % max(1, worker.processor.classes) for number in range(count)]
    return labels_to_ask(shard.labels_N.tolist(), count, worker.evaluation.samples.labels)


def some_of(pixels_NCHW: Tensor, most: int) -> Tensor:
    """Return at most so many pictures, in an order that depends on their number alone."""
    order = np.random.default_rng(0).permutation(len(pixels_NCHW))
    return pixels_NCHW[torch.from_numpy(order[:most])]


def _sides(real_ND: np.ndarray, made_MD: np.ndarray) -> Sides:
    half = min(len(made_MD), len(real_ND) // 2)
    rows = np.arange(len(real_ND))
    return Sides(real_ND=real_ND, made_MD=made_MD, stand_in=rows[:half], others=rows[half:])


def _distances(name: str, features: Any, sides: Sides, train: PictureShard | None) -> dict[str, float]:
    """Return a distance between both sides, and at the server that of real pictures in the place of made ones; nothing of other metrics."""
    distances: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
        frechet_of(features): frechet_distance,
        "kid": kernel_distance,
    }
    if name not in distances:
        return {}
    distance, found = distances[name], {name: distances[name](sides.real_ND, sides.made_MD)}
    if train is None and sides.half >= 2:
        found[f"{name}{OF_REAL}"] = distance(sides.real_ND[sides.others], sides.real_ND[sides.stand_in])
    return found


def _cover(sides: Sides) -> dict[str, float]:
    """Return precision, recall and coverage at one number of pictures on each side, and those of real pictures."""
    wanted = sides.real_ND[sides.others[: sides.half]]
    of_made = cover(wanted, sides.made_MD[: sides.half], neighbours=NEIGHBOURS)
    of_real = cover(wanted, sides.real_ND[sides.stand_in], neighbours=NEIGHBOURS)
    return {**vars(of_made), **{f"{name}{OF_REAL}": value for name, value in vars(of_real).items()}}


def _memory(features: Any, sides: Sides, train: PictureShard) -> dict[str, float]:
    """Return how far samples lie from the nearest training picture and from the nearest of as many that were held out."""
    count = min(len(train), len(sides.real_ND))
    trained_on = _features(features, some_of(train.pixels_NCHW, count))
    to_training, to_others = nearest(sides.made_MD, trained_on), nearest(sides.made_MD, sides.real_ND[:count])
    closer = (to_training < to_others).mean() + (to_training == to_others).mean() / 2
    return {
        "closer_to_training": float(closer),
        **dict(zip(NEAREST, (float(to_training.mean()), float(to_others.mean())), strict=True)),
    }


def _classes(
    worker: Bench, features: Any, sides: Sides, labels: Sequence[int], shard: PictureShard
) -> tuple[dict[str, float], dict[str, dict[str, int]]]:
    """Return what follows from the classes that the features' classifier finds, and how often it finds each; nothing without one."""
    known = classes_of(features)
    if not known:
        return {}, {}
    found = {name: np.asarray(features.classify(side)) for name, side in (("made", sides.made_MD), ("real", sides.real_ND))}
    counts = {name: np.bincount(classes, minlength=len(known)) for name, classes in found.items()}
    figures = {"class_entropy": _entropy(counts["made"]), f"class_entropy{OF_REAL}": _entropy(counts["real"])}
    names = worker.task.labels_of(())
    if shard.labels_N is not None and set(names) <= set(known):
        number_of = np.array([known.index(name) for name in names])
        real_labels = some_of(shard.labels_N, MOST_REAL).numpy()
        figures["label_accuracy"] = float((found["made"] == number_of[np.asarray(labels)]).mean())
        figures[f"label_accuracy{OF_REAL}"] = float((found["real"] == number_of[real_labels]).mean())
    return figures, {name: dict(zip(known, map(int, of), strict=True)) for name, of in counts.items()}


def _entropy(counts_K: np.ndarray) -> float:
    """Return the entropy of a histogram over that of an even one, 0 to 1."""
    shares = counts_K[counts_K > 0] / counts_K.sum()
    return float(-(shares * np.log(shares)).sum() / math.log(max(2, len(counts_K))))


def _features(features: Any, pixels_NCHW: Tensor) -> np.ndarray:
    """Return the features of real pictures; those of the sets that were asked for last are held in memory."""
    return _held(features, _Pixels(pixels_NCHW))


class _Pixels:
    """Pictures that equal others of the same pixels."""

    def __init__(self, pixels_NCHW: Tensor) -> None:
        self.pixels_NCHW = pixels_NCHW
        self.digest = hashlib.sha256(pixels_NCHW.contiguous().numpy().tobytes()).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Pixels) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@lru_cache(maxsize=8)
def _held(features: Any, pixels: _Pixels) -> np.ndarray:
    return np.asarray(features.of(pixels.pixels_NCHW))
