"""The Parquet tables of a run folder, read without pandas, which takes longer to load than all else that shows a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..run_files import WHAT
from ..text_files import check_regular

if TYPE_CHECKING:
    import pyarrow

COLUMNS: Mapping[str, Mapping[str, type]] = {  # that each row of a run's tables must have to be shown, and of what kind
    "rounds": {"round": int},
    "clients": {"client": str},
    "evaluations": {"round": int, "scope": str, "client": str, "metric": str},
}


@dataclass(frozen=True)
class Tables:
    """The tables in one folder, each read once, when it is asked for."""

    folder: Path
    _read: dict[str, "pyarrow.Table"] = field(default_factory=dict, repr=False, compare=False)

    def rows(self, name: str, *columns: str, **where: str) -> list[dict[str, Any]]:
        """Return the rows of a table without their empty cells; see `Run.rows`."""
        found = self._select(name, columns, where)
        cells = zip(*(column.to_pylist() for column in found.columns), strict=True)
        names = found.column_names
        return [
            {key: value for key, value in zip(names, row, strict=True) if value is not None and value == value}  # noqa: PLR0124 - NaN
            for row in cells
        ]

    def columns(self, name: str, *columns: str, **where: str) -> list[list[Any]]:
        """Return the cells of each of some columns, None where a cell is empty or the table has no such column."""
        found = self._select(name, [], where)
        return [_cells(found[column]) if column in found.column_names else [None] * found.num_rows for column in columns]

    def _select(self, name: str, columns: Sequence[str], where: Mapping[str, str]) -> "pyarrow.Table":
        import pyarrow.compute

        found = self._table(name)
        for column, value in where.items():  # the value as Arrow's own: to turn one of Python's into it imports pandas
            known = found[column].unique() if column in found.column_names else ()
            value_there = next((one for one in known if one.as_py() == value), None)
            found = found[:0] if value_there is None else found.filter(pyarrow.compute.equal(found[column], value_there))
        return found.select([column for column in columns if column in found.column_names]) if columns else found

    def _table(self, name: str) -> "pyarrow.Table":
        """Return a table, read once; one without rows and columns if there is none."""
        import pyarrow.parquet  # a ParquetFile, no read_table, which imports pandas

        if name not in self._read:
            file = self.folder / f"{name}.parquet"
            self._read[name] = pyarrow.table({}) if not file.exists() else _checked(file, name)
        return self._read[name]


def _cells(column: "pyarrow.ChunkedArray") -> list[Any]:
    return [None if value != value else value for value in column.to_pylist()]  # noqa: PLR0124 - NaN


def _checked(file: Path, name: str) -> "pyarrow.Table":
    """Return a table of a run; raise DataError if it is damaged, or lacks what each row must have."""
    import pyarrow.parquet
    from pyarrow import types

    kinds = {int: (types.is_integer,), str: (types.is_string, types.is_large_string)}
    try:
        check_regular(file, WHAT, error=DataError)
        table = pyarrow.parquet.ParquetFile(file).read()
    except (OSError, ValueError, MemoryError) as error:  # what Arrow raises are kinds of these
        raise damaged(file, str(error)) from None
    for column, kind in COLUMNS.get(name, {}).items():
        cells = table[column] if column in table.column_names else None
        if table.num_rows and (cells is None or cells.null_count or not any(fits(cells.type) for fits in kinds[kind])):
            raise damaged(file, f"it has no column {column}, or a row has nothing or something else in it than it should")
    return table


def damaged(file: Path, fault: str) -> DataError:
    """Return the error for a file that the tables of a run can do without."""
    return DataError(
        f"{file} cannot be read: {fault}; it was interrupted or changed: put back a copy, or move it away to see the rest of the run."
    )
