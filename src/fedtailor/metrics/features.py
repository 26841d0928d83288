"""What pictures are compared by: the features that a network of pictures finds in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from ..errors import SettingError
from .figure import OF_PICTURES


@runtime_checkable
class Features(Protocol):
    """Finds features of pictures; a frozen dataclass whose fields are its settings.

    One of the user's own may also say `classes`, names of the classes it knows, with `classify(features [N, D]) -> class numbers [N]`: metrics of
    classes need both; and `at(base) -> Features`, with paths that start at the job's folder.
    """

    def of(self, pixels_NCHW: Tensor) -> np.ndarray:
        """Return float features [N, D] of pictures, uint8 [N, 3, height, width]."""


@dataclass(frozen=True, kw_only=True)
class NoFeatures:
    """Pictures are not compared."""

    kind: Literal["none"] = "none"

    def of(self, pixels_NCHW: Tensor) -> np.ndarray:
        """Refuse.

        Raises:
            SettingError: always.
        """
        raise SettingError(
            "evaluation.features is none, and pictures are compared by features; set evaluation.features: {kind: cifar, path: FILE}"
        )


def features_at(features: Any, base: Path) -> Any:
    """Return features whose relative paths start at `base`."""
    return features.at(base) if hasattr(features, "at") else features


def classes_of(features: Any) -> tuple[str, ...]:
    """Return the names of the classes that features know; none without a classifier."""
    return tuple(getattr(features, "classes", ())) if hasattr(features, "classify") else ()


def frechet_of(features: Any) -> str:
    """Return the metric that the Fréchet distance under some features is: it is named after them, as figures of others are no such figures."""
    return str(getattr(features, "frechet", "fd"))


def check_features(features: Any, metrics: Sequence[str]) -> None:
    """Raise SettingError if metrics of pictures cannot be had by some features."""
    asked = [name for name in metrics if name in OF_PICTURES]
    if not asked:
        return
    if isinstance(features, NoFeatures):
        raise SettingError(
            f"metrics names {asked[0]!r}, which compares pictures by features of a network; set features: {{kind: cifar, path: FILE}} (docs/techniques/images.md), "
            "or name a class of your own"
        )
    distances = {"cifar_fd", "fd"} & set(asked)
    if strange := sorted(distances - {frechet_of(features)}):
        raise SettingError(
            f"metrics names {strange[0]!r}, and under these features the Fréchet distance is called {frechet_of(features)!r}; write that"
        )
    if not classes_of(features) and (of_classes := [name for name in ("class_entropy", "label_accuracy") if name in asked]):
        raise SettingError(f"metrics names {of_classes[0]!r}, and these features have no classifier; leave it out")
