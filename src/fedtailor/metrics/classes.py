"""Metrics of named classes, 0 to 1, each from counts that add up over clients."""

import math
from collections.abc import Sequence


def class_counts(predicted: Sequence[int], labels: Sequence[int], classes: int) -> list[int]:
    """Return for each class how often it was predicted and right, then for each how often it was right, then how often predicted."""
    counts = [0] * (3 * classes)
    for said, label in zip(predicted, labels, strict=True):
        counts[label] += said == label
        counts[classes + label] += 1
        counts[2 * classes + said] += 1
    return counts


def accuracy(counts: Sequence[int]) -> float:
    """Return the share of predictions that are right, from `class_counts`."""
    classes = len(counts) // 3
    return sum(counts[:classes]) / sum(counts[classes : 2 * classes])


def macro_f1(counts: Sequence[int]) -> float:
    """Return the mean F1 over the classes that occur among predictions or labels, from `class_counts`."""
    classes = len(counts) // 3
    hits, labels, predicted = counts[:classes], counts[classes : 2 * classes], counts[2 * classes :]
    scores = [2 * hit / (right + said) for hit, right, said in zip(hits, labels, predicted, strict=True) if right + said]
    return math.fsum(scores) / len(scores)
