"""What all partitions share: their interface, the names of clients, and how a column is read."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count
from typing import Protocol

import numpy as np

from ...errors import DataError, SettingError
from ...records import ClientId, Example

Embed = Callable[[Sequence[str]], np.ndarray]  # N texts to float [N, dimensions], each of length 1

USUAL_COUNT = 10  # clients, where neither the job nor the data says how many
REDRAWS = 100


GROUPED = ("label", "library")  # fields over which clients are compared where nothing else is named


class Partition(Protocol):
    """Which client owns which example.

    A partition may also have `columns`, a tuple of the columns that it reads (without it, all columns of the data are kept), and
    `owners(examples)`, the name of each example's owner, if the data name them: rows are then deduplicated and divided into parts for
    each owner apart, as it would do itself.
    """

    def groups(self, examples: Sequence[Example], draw: np.random.Generator, embed: Embed | None) -> tuple[str, list[str]] | None:
        """Return a name and a value per example, over which the difference of the clients is measured; None if there is none."""

    def divide(
        self,
        examples: Sequence[Example],
        count: int | None,
        draw: np.random.Generator,
        min_examples: int,
        embed: Embed | None = None,
    ) -> dict[ClientId, list[int]]:
        """Return the row numbers of each client, rising, in the order of client ids; no row belongs to two clients.

        Args:
            examples: all training examples.
            count: how many clients are wanted; None leaves it to the partition.
            draw: the only source of chance.
            min_examples: fewest examples of a client, where the partition can see to it.
            embed: turns texts into vectors; only partitions by topic need it.

        Raises:
            DataError: if the examples do not allow it, such as more clients than examples.
            SettingError: if a column is named that no example has.
        """


class ByOneColumn(Protocol):
    """A partition that divides by the values of one column."""

    by: str  # a column, or a slot of a text: input[eatType]


# What such partitions have in common; each names them as its own, since a class made of one may read other columns.
def own_column(self: ByOneColumn) -> tuple[str, ...]:
    """Return the columns that it reads."""
    return (self.by,)


def own_groups(
    self: ByOneColumn, examples: Sequence[Example], draw: np.random.Generator, embed: Embed | None
) -> tuple[str, list[str]] | None:
    """Return the column by which the clients differ."""
    return self.by, column_values(examples, self.by)


def no_column(self: object) -> tuple[str, ...]:
    """Return that it reads no column of its own."""
    return ()


def groups_of_labels(
    self: object, examples: Sequence[Example], draw: np.random.Generator, embed: Embed | None
) -> tuple[str, list[str]] | None:
    """Return the labels, if there are any: the partition looks at no column."""
    return label_groups(examples)


def client_names(count: int | None, examples: int) -> list[ClientId]:
    """Return `count` names whose text order is the order of their numbers.

    Raises:
        DataError: if there are more clients than examples.
    """
    wanted = USUAL_COUNT if count is None else count
    if wanted > examples:
        raise DataError(
            f"clients.count asks for {wanted} clients, but {examples} training examples are left "
            "after duplicates and data.limit; every client needs at least one: lower clients.count, or raise data.limit.train, or give more data"
        )
    width = max(2, len(str(wanted - 1)))
    return [f"client-{place:0{width}d}" for place in range(wanted)]


def column_values(examples: Sequence[Example], by: str) -> list[str]:
    """Return the value of column `by` of each example, as text.

    `input[eatType]` reads the slot eatType of a text such as `name[The Vaults], eatType[pub]` in column `input` (empty where
    there is no such slot), and `input[#]` counts the slots.

    Raises:
        SettingError: if an example has no such column.
    """
    column, slot = (by, None) if examples and by in examples[0].fields else column_and_slot(by)
    values = []
    for example in examples:
        if column not in example.fields:
            raise SettingError(unknown_column(column, example.fields, "clients.partition.by"))
        values.append(_slot(str(example.fields[column]), slot))
    return values


def column_and_slot(by: str) -> tuple[str, str | None]:
    """Return the column that `input[eatType]` reads, and the slot; None for a column as a whole."""
    match = re.fullmatch(r"(.+)\[(.+)\]", by)
    return (match[1], match[2]) if match else (by, None)


def _slot(text: str, slot: str | None) -> str:
    if slot is None:
        return text
    if slot == "#":
        return str(len(re.findall(r"\w+\[[^\]]*\]", text)))
    found = re.search(rf"(?<!\w){re.escape(slot)}\[([^\]]*)\]", text)
    return found[1] if found else ""


def unknown_column(column: str, columns: Mapping[str, object], setting: str) -> str:
    """Return the text of an error about a column that the data do not have."""
    near = difflib.get_close_matches(column, list(columns), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "name one of these"
    return f"{setting} names column {column!r}, but the training data have the columns {', '.join(sorted(columns))}; {hint}"


def label_groups(examples: Sequence[Example]) -> tuple[str, list[str]] | None:
    """Return the labels if all examples have one, for partitions that look at no column themselves."""
    for column in GROUPED:
        if examples and all(column in example.fields for example in examples):
            return column, [str(example.fields[column]) for example in examples]
    return None


def rows_by_value(values: Sequence[str]) -> dict[str, list[int]]:
    """Return the row numbers of each value, in the order of the values as text."""
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        rows.setdefault(value, []).append(row)
    return {value: rows[value] for value in sorted(rows)}


def client_ids(names: Sequence[str]) -> dict[str, ClientId]:
    """Return the id of each name, all different. Names that are ids already keep theirs, whatever others there are."""
    taken: set[ClientId] = set()
    order = sorted(names, key=lambda name: (safe_id(name, set()) != name, name))
    return {name: safe_id(name, taken) for name in order}


def safe_id(name: str, taken: set[ClientId]) -> ClientId:
    """Return `name` as a client id that may also name a folder, different from all in `taken`, and add it there."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    plain = plain.encode()[:80].decode(errors="ignore").strip("-.") or "unnamed"  # file systems count bytes, mostly to 255
    unique = next(c for c in chain([plain], (f"{plain}-{n}" for n in count(2))) if c not in taken)
    taken.add(unique)
    return unique


def largest_first(values: Sequence[str]) -> list[str]:
    """Return the distinct values, the most frequent first, equals in text order."""
    return sorted(set(values), key=lambda value, sizes=Counter(values): (-sizes[value], value))  # type: ignore[misc]


def cut_by_shares(rows: Sequence[int], shares: np.ndarray) -> list[list[int]]:
    """Return `rows` cut in order into consecutive parts of about `shares`, which sum to 1; every row is in one part."""
    ends = np.rint(np.cumsum(shares) * len(rows)).astype(int)
    ends[-1] = len(rows)
    return [list(rows[begin:end]) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
