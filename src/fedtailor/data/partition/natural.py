"""Owners as the data name them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import DataError
from ...records import ClientId, Example
from .base import Embed, column_values, largest_first, rows_by_value, safe_id


@dataclass(frozen=True, kw_only=True)
class Natural:
    """Make each value of a column a client: the author, the hospital, the library.

    Values with fewer than `clients.min_examples` examples are left out, and so are all but the largest if `clients.count` is
    lower than their number; `divide` counts what is left out.
    """

    kind: Literal["natural"] = "natural"
    by: str = "library"  # a column, or a slot of a text: input[eatType]

    def groups(self, examples: Sequence[Example], draw: np.random.Generator, embed: Embed | None) -> tuple[str, list[str]] | None:
        """Return the labels where there are any, else the owners: each owner alone is its own kind."""
        if examples and all("label" in example.fields for example in examples):
            return "label", [str(example.fields["label"]) for example in examples]
        return self.by, column_values(examples, self.by)

    def divide(
        self,
        examples: Sequence[Example],
        count: int | None,
        draw: np.random.Generator,
        min_examples: int,
        embed: Embed | None = None,
    ) -> dict[ClientId, list[int]]:
        """Return the row numbers of each client; see `Partition.divide`."""
        return divide_by_owner(column_values(examples, self.by), count, min_examples, f"column {self.by!r}")


def divide_by_owner(values: Sequence[str], count: int | None, min_examples: int, where: str) -> dict[ClientId, list[int]]:
    """Return the row numbers of the `count` largest owners that have `min_examples`, by their names.

    Raises:
        DataError: if there are fewer such owners than `count`, or none.
    """
    sizes = Counter(values)
    owners = [value for value in largest_first(values) if sizes[value] >= min_examples]
    if not owners or (count is not None and count > len(owners)):
        wanted = "at least one client is needed" if count is None else f"clients.count asks for {count}"
        raise DataError(
            f"{where} names {len(sizes)} owners, {len(owners)} of them with at least clients.min_examples = {min_examples} examples, "
            f"and {wanted}; leave clients.count out to take all of them, or lower clients.min_examples"
        )
    kept = set(owners[:count])
    taken: set[ClientId] = set()
    parts = {safe_id(value, taken): rows for value, rows in rows_by_value(values).items() if value in kept}
    return dict(sorted(parts.items()))
