"""What `learning_rate: auto` stands for."""

from collections.abc import Mapping
from typing import Literal

LearningRate = float | Literal["auto"]  # above 0; auto: the usual one of the tuning for its kind of backbone

OTHERWISE = 1.0e-3  # of a tuning that names none: a class of the user's own
HEAD = "{}-head"  # behind a kind of backbone: the learning rate of the head, where it is another


def usual_head_learning_rate(tuning: object, backbone: str) -> float | None:
    """Return the learning rate that a classifier's head usually learns with beside this tuning; None: that of all else."""
    declared: Mapping[str, float] = getattr(tuning, "learning_rates", {})
    return declared.get(HEAD.format(backbone))


def usual_learning_rate(tuning: object, backbone: str) -> float:
    """Return the learning rate of AdamW that a tuning usually learns with.

    Args:
        tuning: declares them as `learning_rates`, by kind of backbone; they come from benchmarks/defaults.py.
        backbone: the task's: causal or classifier.
    """
    declared: Mapping[str, float] = getattr(tuning, "learning_rates", {})
    return declared.get(backbone, OTHERWISE)
