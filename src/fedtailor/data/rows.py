"""Rows become examples: columns get the task's names, and every value that a task needs is checked."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import DataError
from ..pictures import Picture, notes_on
from ..records import Example
from .columns import MESSAGES, Wanted, check_named, check_required, hidden_columns, reads_talks
from .faults import FILL, Faults
from .table import Table
from .values import EMPTY, Check, Talk


@dataclass(frozen=True, kw_only=True)
class Found:
    """The examples of a table, and what has to be said of it."""

    examples: Sequence[Example]
    faults: str = ""  # of rows that cannot be used
    dropped: Mapping[str, int] = field(default_factory=dict)  # rows left out, by reason
    notes: Sequence[str] = ()


def to_examples(table: Table, name: str, wanted: Wanted) -> Found:
    """Return an example per row, under the task's names and those of the further columns that are wanted.

    Rows at the end without any value are none, as spreadsheets have them; a table of one column keeps them.

    Args:
        table: of a file or in memory.
        name: of the source; ids are this and the row number, where the table has none of its own.
        wanted: which columns are read.

    Raises:
        DataError: if a column is missing, naming the place and the remedy.
        SettingError: if a setting names a column that is not there.
    """
    talks = reads_talks(table.names, wanted)
    check_named(table, wanted)
    if not talks:
        check_required(table, wanted)
    notes = [*table.notes, *hidden_columns(table, wanted)]
    sources = {n: wanted.column(n) for n in ((MESSAGES,) if talks else wanted.required)}
    always = {**{column: column for column in _others(table, wanted, talks)}, **sources}
    maybe = {n: wanted.column(n) for n in wanted.optional if wanted.column(n) in table.names}
    raw = {column: table.column(column) for column in {**always, **maybe}.values() if column in table.names}
    size = _rows_with_values(table, raw)
    faults = Faults(table)
    lacking: dict[int, str] = {}
    fields: dict[str, list[object]] = {}
    for field_name, column in {**always, **maybe}.items():
        check = Check(
            field=field_name, column=column, wanted=wanted, optional=field_name in maybe, talk=talks and field_name == MESSAGES
        )
        fields[field_name] = check.all(raw[column][:size], faults, lacking)
    _check_prompts(fields, wanted, faults, lacking, size)
    _check_headers(raw, sources, faults, size)
    kept = [row for row in range(size) if row not in lacking]
    return Found(
        examples=[] if faults else list(_examples(table, name, fields, kept, absent=set(maybe))),
        faults=faults.text() if faults else "",
        dropped=Counter(f"rows without a value in column {column}" for column in lacking.values()),
        notes=[*notes, *_conversions(table, fields)],
    )


def _conversions(table: Table, fields: Mapping[str, Sequence[object]]) -> Iterator[str]:
    """Yield how many pictures of the table were converted, and how."""
    for values in fields.values():
        yield from (f"{table.where}: {note}" for note in notes_on([value for value in values if isinstance(value, Picture)]))


def _examples(
    table: Table, source: str, fields: Mapping[str, Sequence[object]], rows: Sequence[int], *, absent: Collection[str]
) -> Iterator[Example]:
    """Yield the examples of the rows; what a conversation holds takes the place of its column."""
    for row in rows:
        own = {name: values[row] for name, values in fields.items()}
        for optional in absent:
            if own[optional] in (None, []):
                del own[optional]
        talk = own.get(MESSAGES)
        if isinstance(talk, Talk):
            own.update(talk)
        id = table.ids[row] if table.ids else f"{source}-{row}"
        yield Example(id=id, fields=own, source=source, place=table.place(row))


def _others(table: Table, wanted: Wanted, talks: bool) -> list[str]:
    """Return the further columns that are read, as they are called in the table; a field of the task of the same name comes before."""
    own = {*wanted.required, *wanted.optional, *((MESSAGES,) if talks else ())}
    names = table.names if wanted.others is None else [*wanted.named, *wanted.others]
    return [name for name in dict.fromkeys(names) if name in table.names and name not in own]


def _rows_with_values(table: Table, raw: Mapping[str, Sequence[object]]) -> int:
    """Return how many rows there are without those at the end that hold no value in any column."""
    size, all_columns = table.size, dict(raw)
    while size and len(table.names) > 1 and all(cells[size - 1] is None for cells in all_columns.values()):
        for name in table.names:
            if name not in all_columns:
                all_columns[name] = table.column(name)
        if any(cells[size - 1] is not None for cells in all_columns.values()):
            break
        size -= 1
    if not size:
        raise DataError(f"{table.where} has no rows that hold a value; give a file with at least one example")
    return size


def _check_prompts(
    fields: Mapping[str, Sequence[object]], wanted: Wanted, faults: Faults, lacking: dict[int, str], size: int
) -> None:
    """Note rows in which all columns of a prompt are empty, where each may be."""
    names = [name for name in wanted.may_be_empty if name == "input" and name in fields]
    parts = [*names, *(name for name in wanted.named if name in fields and name not in wanted.filled)]
    if not names or len(parts) < 2:
        return
    together = " and ".join(repr(wanted.column(name)) for name in parts)
    for row in range(size):
        if row not in lacking and not any(str(fields[name][row] or "").strip() for name in parts):
            if wanted.missing == "drop":
                lacking[row] = together
            else:
                faults.add(row, together, EMPTY, FILL)


def _check_headers(raw: Mapping[str, Sequence[object]], sources: Mapping[str, str], faults: Faults, size: int) -> None:
    """Note rows that hold the names of the required columns, as files have in their middle that were joined."""
    columns = list(sources.values())
    if len(columns) < 2:
        return
    for row in range(size):
        if raw[columns[0]][row] is not None and all(str(raw[column][row]).strip("\ufeff ") == column for column in columns):
            faults.add(
                row, " and ".join(map(repr, columns)), "repeats the header, as where files were joined,", "delete these rows"
            )
