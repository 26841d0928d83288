"""What a metric of the user's own promises."""

import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ..errors import SettingError
from .figure import COUNTS, METRICS, OF_COUNTS

NAME = re.compile(r"[a-z][A-Za-z0-9_]{0,39}")


@runtime_checkable
class OwnMetric(Protocol):
    """A metric of the user's own: a frozen dataclass of its settings, named in evaluation.metrics as package.module:Class."""

    @property
    def name(self) -> str:
        """What its figure is called in tables and files, such as same_text."""

    @property
    def higher_is_better(self) -> bool:
        """Whether more of it is better."""

    @property
    def is_mean(self) -> bool:
        """Whether it is a mean over answers, so that the figure over clients is their mean, weighted by answers; else there is none."""

    def score(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> float:
        """Return the figure of `answers`.

        Args:
            answers: the texts that were generated, or the names of the likeliest classes; at least one.
            references: what counts as right for each: one text or more, or the name of the right class.
        """


def check_own(metric: object) -> OwnMetric:
    """Return a metric of the user's own, once it is seen to keep the promise.

    Raises:
        SettingError: if something of it is missing, or its name cannot be taken.
    """
    kind = f"{type(metric).__module__}:{type(metric).__qualname__}"
    lacking = [part for part in ("name", "higher_is_better", "is_mean", "score") if not hasattr(metric, part)]
    if lacking or not isinstance(metric, OwnMetric):
        raise SettingError(
            f"metrics names {kind}, which lacks {', '.join(lacking)}; a metric has name, higher_is_better, is_mean and "
            "score(answers, references), see docs/extending.md"
        )
    name = metric.name
    if not isinstance(name, str) or not NAME.fullmatch(name) or name.endswith(OF_COUNTS):
        raise SettingError(
            f"metrics names {kind}, whose name is {name!r}; a name is a lower-case letter, then letters, digits and _, at most 40 in all"
        )
    if name in METRICS or name in COUNTS:
        raise SettingError(f"metrics names {kind}, whose name {name!r} is that of another figure; call it something else")
    for part in ("higher_is_better", "is_mean"):
        if not isinstance(getattr(metric, part), bool):
            raise SettingError(f"metrics names {kind}, whose {part} is {getattr(metric, part)!r}; it is True or False")
    return metric


def own_score(metric: OwnMetric, answers: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return what a metric of the user's own makes of some answers.

    Raises:
        SettingError: if its code fails, or returns something that is no number.
    """
    try:
        found = metric.score(answers, references)
    except Exception as fault:
        raise SettingError(
            f"evaluation.metrics: {metric.name} failed on {len(answers)} answers with {type(fault).__name__}: {fault}; "
            "try its score on a few answers by hand"
        ) from fault
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise SettingError(
            f"evaluation.metrics: {metric.name} returned {found!r} for {len(answers)} answers; a figure is a number"
        )
    return float(found)
