"""Equal parts at random."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...records import ClientId, Example
from .base import Embed, client_names, label_groups


@dataclass(frozen=True, kw_only=True)
class Iid:
    """Deal the shuffled examples out evenly: sizes differ by at most one."""

    kind: Literal["iid"] = "iid"

    @property
    def columns(self) -> tuple[str, ...]:
        """It reads no column of its own."""
        return ()

    def groups(self, examples: Sequence[Example], draw: np.random.Generator, embed: Embed | None) -> tuple[str, list[str]] | None:
        """Return the labels, if there are any: this partition looks at no column."""
        return label_groups(examples)

    def divide(
        self,
        examples: Sequence[Example],
        count: int | None,
        draw: np.random.Generator,
        min_examples: int,
        embed: Embed | None = None,
    ) -> dict[ClientId, list[int]]:
        """Return the row numbers of each client; see `Partition.divide`."""
        names = client_names(count, len(examples))
        order = draw.permutation(len(examples))
        return {name: sorted(order[place :: len(names)].tolist()) for place, name in enumerate(names)}
