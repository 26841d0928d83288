"""Equal parts at random."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...records import ClientId, Example
from .base import Embed, client_names, groups_of_labels, no_column


@dataclass(frozen=True, kw_only=True)
class Iid:
    """Deal the shuffled examples out evenly: sizes differ by at most one."""

    kind: Literal["iid"] = "iid"

    columns = property(no_column)
    groups = groups_of_labels

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
