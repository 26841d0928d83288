"""Clipping by norm: no update is longer than a bound, and all clients count alike.

Source: Sun, Kairouz, Suresh and McMahan, 2019, arXiv:1911.07963, section 5 (norm thresholding). Without a number the bound is the median length of the
round's updates, as half of the clients or more are honest. It stops an update that was made long to replace the model, and not one that is patient.
Differences: no noise; LoRA is measured by products (`updates.py`), and its factors are scaled by what that gives.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from ...errors import SettingError
from ...interfaces import RuleTraits
from ...limits import Number
from ...records import Outcome, Update
from ...tensors import Tensors
from ..stateless import Stateless
from .updates import hold


@dataclass(frozen=True, kw_only=True)
class NormClip(Stateless):
    """Shorten long updates, and take the mean."""

    kind: Literal["norm-clip"] = "norm-clip"
    norm: Number | Literal["median"] = "median"  # largest length of an update, above 0; median: that of the round's updates
    traits: ClassVar[RuleTraits] = RuleTraits(alike=True)

    def __post_init__(self) -> None:
        if self.norm != "median" and not self.norm > 0:
            raise SettingError(f"norm is the largest length of an update, above 0, or median; got {self.norm}")

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + the mean of deltas that are no longer than the bound.

        Raises:
            EmptyRound: if no client answered.
        """
        held = hold(updates, params, self.traits)
        lengths = held.products().diagonal().clamp_min(0).sqrt()
        bound = float(lengths.quantile(0.5)) if self.norm == "median" else self.norm
        return held.step(torch.where(lengths > bound, bound / lengths, 1.0) / len(lengths))
