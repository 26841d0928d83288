"""A few kinds of examples per client.

Source: McMahan et al., 2017, arXiv:1602.05629, section 3: sort by label, cut into shards of equal size, deal some to each client.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import DataError, SettingError
from ...limits import Count
from ...records import ClientId, Example
from .base import Embed, client_names, column_values, own_column, own_groups, rows_by_value


@dataclass(frozen=True, kw_only=True)
class Shards:
    """Sort by a column, cut into equal shards, and deal `per_client` of them to each client."""

    kind: Literal["shards"] = "shards"
    by: str = "label"  # a column, or a slot of a text: input[eatType]
    per_client: Count = 2  # shards of each client, at least 1

    def __post_init__(self) -> None:
        if isinstance(self.per_client, bool) or not isinstance(self.per_client, int) or self.per_client < 1:
            raise SettingError(f"per_client is a number of shards, at least 1, got {self.per_client!r}; the paper has 2")

    columns = property(own_column)
    groups = own_groups

    def divide(
        self,
        examples: Sequence[Example],
        count: int | None,
        draw: np.random.Generator,
        min_examples: int,
        embed: Embed | None = None,
    ) -> dict[ClientId, list[int]]:
        """Return the row numbers of each client; see `Partition.divide`. Shards differ in size by at most one.

        Raises:
            DataError: if there are more shards than examples.
        """
        names = client_names(count, len(examples))
        shards = len(names) * self.per_client
        if shards > len(examples):
            raise DataError(
                f"{len(names)} clients with {self.per_client} shards each need {shards} examples, but the training data have "
                f"{len(examples)}; lower clients.count or clients.partition.per_client"
            )
        by_value = rows_by_value(column_values(examples, self.by))
        row = np.concatenate([draw.permutation(rows) for rows in by_value.values()])
        pieces = np.array_split(row, shards)
        dealt = draw.permutation(shards).reshape(len(names), self.per_client)
        return {name: sorted(np.concatenate([pieces[i] for i in own]).tolist()) for name, own in zip(names, dealt, strict=True)}
