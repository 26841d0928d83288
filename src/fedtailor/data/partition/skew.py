"""A set share of each client's examples from its own corner of the data: the "40 %" and "80 % non-IID" of federated prefix-tuning.

Source: arXiv:2601.00526 gives the percentage without a construction; ours is ALGORITHMS.md 1.1: client k has share * n_k examples
of its own cluster and the rest uniformly from what remains, with equal n_k.
Difference: values are laid in a random row and cut into as many blocks as there are clients, and a block is a client's own
cluster. So sizes are equal and the share is exact, whatever the sizes of the values; a value larger than a block belongs to several
clients, and a block may hold the end of one value and the beginning of the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import SettingError
from ...limits import ClientCount
from ...records import ClientId, Example
from .base import USUAL_COUNT, Embed, client_names, column_values, rows_by_value
from .topic import find_topics


@dataclass(frozen=True, kw_only=True)
class Skew:
    """Give each client `share` of its examples from its own cluster, and the rest at random."""

    kind: Literal["skew"] = "skew"
    share: float = 0.8  # in [0, 1]: 0 is iid, 1 leaves no mixing
    by: str | None = None  # a column, or a slot of a text: input[eatType]; None: clusters of the texts' embeddings
    clusters: ClientCount | None = None  # with by left out: how many clusters; None: 10

    def __post_init__(self) -> None:
        if isinstance(self.share, bool) or not isinstance(self.share, int | float) or not 0 <= self.share <= 1:
            raise SettingError(f"share is the part of a client's examples from its own cluster, in [0, 1], got {self.share!r}")
        if self.by is not None and self.clusters is not None:
            raise SettingError(f"clusters is for texts without a column to go by; got by {self.by!r} too: leave one of them out")
        if self.clusters is not None and (
            isinstance(self.clusters, bool) or not isinstance(self.clusters, int) or self.clusters < 2
        ):
            raise SettingError(f"clusters is a number of clusters, at least 2, got {self.clusters!r}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return () if self.by is None else (self.by,)

    def groups(self, examples: Sequence[Example], draw: np.random.Generator, embed: Embed | None) -> tuple[str, list[str]] | None:
        """Return the column or the clusters by which the clients differ."""
        if self.by is not None:
            return self.by, column_values(examples, self.by)
        return "cluster", find_topics(examples, self.clusters or USUAL_COUNT, draw, embed)

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
        if self.by is not None:
            values = column_values(examples, self.by)
        else:
            values = find_topics(examples, self.clusters or USUAL_COUNT, draw, embed)
        by_value = list(rows_by_value(values).values())
        row = np.concatenate([draw.permutation(by_value[place]) for place in draw.permutation(len(by_value))])
        own, rest = [], []
        for block in np.array_split(row, len(names)):
            mixed = draw.permutation(block)
            kept = round(self.share * len(block))
            own.append(mixed[:kept])
            rest.append(mixed[kept:])
        pool = draw.permutation(np.concatenate(rest))
        drawn = np.split(pool, np.cumsum([len(part) for part in rest])[:-1])
        return {name: sorted([*a.tolist(), *b.tolist()]) for name, a, b in zip(names, own, drawn, strict=True)}
