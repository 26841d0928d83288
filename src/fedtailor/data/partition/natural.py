"""Owners as the data name them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import DataError
from ...printable import look_alike
from ...records import ClientId, Example
from .base import Embed, client_ids, client_names, column_values, largest_first, rows_by_value


@dataclass(frozen=True, kw_only=True)
class Natural:
    """Make each value of a column a client: the author, the hospital, the library.

    Values with fewer than `clients.min_examples` examples are left out, and so are all but the largest if `clients.count` is
    lower than their number; `divide` counts what is left out. With `deal`, nothing is: a client has several values then.
    """

    kind: Literal["natural"] = "natural"
    by: str = "library"  # a column, or a slot of a text: input[eatType]
    deal: bool = False  # deal whole values out to clients.count clients, each about as many examples; of documents always

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.by,)

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
        where = f"column {self.by!r}"
        if self.deal and count is not None:
            return deal_owners(self.owners(examples), count, draw, where)
        return divide_by_owner(self.owners(examples), count, min_examples, where)

    def owners(self, examples: Sequence[Example]) -> list[str]:
        """Return the name of each example's owner, as the column has it."""
        return column_values(examples, self.by)


def deal_owners(values: Sequence[str], count: int, draw: np.random.Generator, where: str) -> dict[ClientId, list[int]]:
    """Return the row numbers of `count` clients: the rows of a value together, the largest first to whoever has least.

    Raises:
        DataError: if there are fewer values than clients.
    """
    rows = rows_by_value(values)
    if len(rows) < count:
        raise DataError(f"{where} has {len(rows)} values, and clients.count asks for {count}; lower it")
    dealt: dict[ClientId, list[int]] = {name: [] for name in client_names(count, len(values))}
    drawn = draw.permutation(sorted(rows)).tolist()
    for value in sorted(drawn, key=lambda value: -len(rows[value])):
        dealt[min(dealt, key=lambda name: len(dealt[name]))] += rows[value]
    return {name: sorted(own) for name, own in dealt.items()}


def named_sizes(sizes: Mapping[str, int], most: int = 5) -> str:
    """Return names with their numbers of examples, the largest first, of many only some."""
    first = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name!r} {size:,}" for name, size in first[:most]) + (", ..." if len(first) > most else "")


def divide_by_owner(values: Sequence[str], count: int | None, min_examples: int, where: str) -> dict[ClientId, list[int]]:
    """Return the row numbers of the `count` largest owners that have `min_examples`, by their names.

    Raises:
        DataError: if there are fewer such owners than `count`, or none, or two names look alike: they would part what one of them owns.
    """
    if (alike := look_alike(values)) is not None:
        raise DataError(
            f"{where} has the names {alike[0]!a} and {alike[1]!a}, which look alike: they differ by white space, by signs that nobody sees, or "
            "by how an accent is written, alone; make them one in the data"
        )
    sizes = Counter(values)
    owners = [value for value in largest_first(values) if sizes[value] >= min_examples]
    if not owners or (count is not None and count > len(owners)):
        wanted = "at least one is needed" if count is None else f"clients.count asks for {count}"
        raise DataError(
            f"{where} names {len(sizes)} clients ({named_sizes(sizes)}), {len(owners)} of them with at least clients.min_examples = {min_examples} "
            f"different examples, and {wanted}; leave clients.count out to take all of them, or lower clients.min_examples"
        )
    kept, rows = set(owners[:count]), rows_by_value(values)
    return dict(sorted((client, rows[value]) for value, client in client_ids(list(rows)).items() if value in kept))
