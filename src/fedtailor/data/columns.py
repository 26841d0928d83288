"""Which columns of a table are read, and as what."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..errors import DataError, SettingError
from .faults import listed
from .partition import Partition
from .partition.base import GROUPED, column_and_slot
from .separated import DELIMITERS
from .settings import Data
from .table import Table

MESSAGES = "messages"  # the column of conversations
TEMPLATE = "task.template"  # the setting that names columns
TALKS = ("conversations", "conversation", "dialog", "dialogue", "chat")  # what others call a column of conversations
USUAL = {  # what others call the columns that tasks read
    "input": ("prompt", "question", "instruction", "source", "query", "document", "article"),
    "target": ("completion", "answer", "output", "response", "summary", "chosen"),
    "text": ("sentence", "content", "review", "body", "document"),
    "label": ("labels", "class", "category", "intent", "sentiment"),
}


@dataclass(frozen=True, kw_only=True)
class Reads:
    """What a task reads of the data."""

    required: Sequence[str]  # fields that every example has
    optional: Sequence[str] = ()  # fields that are used where they are
    may_be_empty: Sequence[str] | None = None  # of the required ones; None: a text that is all that is required
    context: Sequence[str] | None = None  # further columns that must be there and may be empty; None: unknown, so all are kept
    extra: Sequence[str] = ()  # further columns that are taken where they are
    running: bool | None = None  # whether rows are lines of running text; None: if a text is all that is required
    whole: bool = False  # whether rows stay as they are: none is set aside to measure on, and equal ones are kept
    public: Mapping[str, Sequence[str]] | None = None  # fields of files of validation and test, where these hold something else

    @property
    def is_running(self) -> bool:
        """Whether rows are lines of running text."""
        return tuple(self.required) == ("text",) if self.running is None else self.running


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which columns become fields of an example, and which of them may be empty."""

    required: Sequence[str]  # fields that every example has
    optional: Sequence[str] = ()  # fields that are taken where they are; an empty cell or list is as if it were not there
    may_be_empty: Collection[str] = ()  # of the required ones
    named: Mapping[str, str] = field(default_factory=dict)  # column that must be there -> the setting that names it
    filled: Collection[str] = ()  # of the named ones: those that must have a value in every row
    others: Sequence[str] | None = None  # columns that are taken where they are; None: all
    columns: Mapping[str, str] = field(default_factory=dict)  # the task's name of a field -> column of the data
    elsewhere: Sequence[str] = ()  # fields of other parts of the data
    missing: Literal["error", "drop"] = "error"  # what becomes of rows that lack a value

    def column(self, name: str) -> str:
        """Return the column of a field of the task."""
        return self.columns.get(name, name).strip()


def wanted_columns(data: Data, reads: Reads, partition: Partition | None = None, *, public: bool = False) -> Wanted:
    """Return what is read of a part of the data: what the task needs, and for training data what the partition does.

    Args:
        public: whether it is a file of validation or test.
    """
    task, other = reads, None if reads.public is None else _of_public(reads.public)
    if public and other is not None:
        task, other = other, reads
    says = "columns" in vars(type(partition))  # a partition of the user's may not say, and read more than the one it is made of
    columns = () if partition is None else getattr(partition, "columns", ()) if says else None
    read = {column: slot for column, slot in map(column_and_slot, columns or ())}
    return Wanted(
        required=task.required,
        optional=task.optional,
        may_be_empty=task.may_be_empty if task.may_be_empty is not None else task.required if task.is_running else (),
        named={**dict.fromkeys(read, "clients.partition.by"), **dict.fromkeys(task.context or (), TEMPLATE)},
        filled={column for column, slot in read.items() if slot is None},
        others=None if task.context is None or columns is None else [*task.extra, *GROUPED],
        columns=data.columns,
        elsewhere=() if other is None else (*other.required, *other.optional),
        missing=data.missing,
    )


def _of_public(fields: Mapping[str, Sequence[str]]) -> Reads:
    return Reads(required=fields["required"], optional=fields.get("optional", ()), context=fields.get("context"))


def check_columns(columns: Mapping[str, str], names: Sequence[str]) -> None:
    """Raise SettingError if `columns` has a key that is none of the task's names, or the model would be given what it is to answer.

    Raises:
        SettingError: naming the nearest right key, or the two that are one column.
    """
    for asked, answer in (("input", "target"), ("text", "label"), ("question", "answer")):
        if {asked, answer} <= set(names) and columns.get(asked, asked) == columns.get(answer, answer):
            raise SettingError(
                f"data.columns takes {asked} and {answer} from one column, {columns.get(asked, asked)!r}, so the answer would stand in the question; name two"
            )
    for key in columns:
        if key not in (*names, MESSAGES):
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "the key is the task's name, the value the column of the file"
            raise SettingError(f"data.columns has the key {key!r}, but this task reads {', '.join(names)}; {hint}")


def reads_talks(names: Sequence[str], wanted: Wanted) -> bool:
    """Return whether input and target are to be read from a column of conversations."""
    if set(wanted.required) != {"input", "target"} or wanted.column(MESSAGES) not in names:
        return False
    return MESSAGES in wanted.columns or not {wanted.column(name) for name in wanted.required} <= set(names)


def check_named(table: Table, wanted: Wanted) -> None:
    """Raise SettingError if a setting names a column that is not there."""
    own = {*wanted.required, *wanted.optional}
    for column, setting in wanted.named.items():
        if column not in table.names and column not in own:
            near = difflib.get_close_matches(column, list(table.names), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "name one of these"
            raise SettingError(
                f"{setting} names column {column!r}, but {table.where} has the columns {listed(sorted(table.names))}; {hint}"
            )


def check_required(table: Table, wanted: Wanted) -> None:
    """Raise DataError if a field has no column; it names all that are missing."""
    lost = [name for name in wanted.required if wanted.column(name) not in table.names]
    if not lost:
        return
    near = {name: _meant(wanted.column(name), sorted(table.names)) for name in lost}
    meant = ", ".join(f"{name}: {near[name][0] if near[name] else 'COLUMN'}" for name in lost)
    hint = "".join(f"did you mean {found[0]!r}? " for found in near.values() if found)
    if set(lost) == {"input", "target"} and (talks := next((name for name in TALKS if name in table.names), None)):
        hint, meant = f"did you mean the conversations in {talks!r}? ", f"{MESSAGES}: {talks}"
    if len(table.names) == 1 and (sign := next((sign for sign in DELIMITERS if sign in table.names[0]), None)):
        hint = f"its cells seem to be separated by {DELIMITERS[sign]}: name it .csv; else "
    raise DataError(
        f"{table.where} has no column {' and no column '.join(repr(wanted.column(name)) for name in lost)}, which the task needs as "
        f"{' and '.join(map(repr, lost))}; it has {listed(sorted(table.names)) or 'none'}; {hint}say which column it is: data.columns: {{{meant}}}"
    )


def _meant(column: str, names: Sequence[str]) -> list[str]:
    """Return at most one of the names: the nearest, or what others call such a column."""
    usual = [name for name in USUAL.get(column, ()) if name in names]
    return difflib.get_close_matches(column, names, n=1) or usual[:1]


def hidden_columns(table: Table, wanted: Wanted) -> Iterator[str]:
    """Yield a note for each column that nothing can reach, as its name stands for another one.

    Raises:
        DataError: if a template names both.
    """
    taken = set(wanted.columns.values())
    for name in (*wanted.required, *wanted.optional):
        column = wanted.column(name)
        if column == name or name not in table.names or name in taken:
            continue
        if wanted.named.get(column) == TEMPLATE:
            raise DataError(
                f"{wanted.named[column]} names {column!r} and {name!r}, which data.columns makes one: {name}: {column}; the own column "
                f"{name!r} of {table.where} cannot be reached then: leave {name} out of data.columns, or rename that column"
            )
        yield f"{table.where}: its column {name!r} is not read, as data.columns takes {column!r} in its place"
