"""Data in memory as tables: lists of mappings or examples, data frames, data sets, and mappings of clients' names to these."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import DataError
from ..printable import unfit_character
from ..records import Example
from .arrow import arrow_table, pandas_table
from .cells import cell
from .table import FROM_0, Table, column_names, from_rows, numbered_from_0


def tables_of_clients(given: Mapping[Any, object]) -> Iterator[tuple[str, Table]]:
    """Yield the name of each client and its table. Names are texts as the cells of a column of clients are.

    Raises:
        DataError: if a name is none or comes twice, or a table is not one.
    """
    names = [cell(key) for key in given]
    for key, name in zip(given, names, strict=True):
        if not isinstance(name, str) or not name.strip() or unfit_character(name) or names.count(name) > 1:
            raise DataError(
                f"data is a mapping, and {key!r} is no name of a client, or of two; expected a text for each client, or one table"
            )
    for name, value in zip(names, given.values(), strict=True):
        yield str(name), table_in_memory(value, f"data[{str(name)!r}]", client=str(name))


def table_in_memory(value: Any, where: str, client: str = "") -> Table:
    """Return a table as it is, or that of a list of mappings or examples, a pandas DataFrame, a datasets.Dataset, or anything that pyarrow reads.

    Raises:
        DataError: if it is something else, or has no rows.
    """
    if isinstance(value, Table):
        table = value
    elif hasattr(value, "columns") and hasattr(value, "iloc"):  # pandas
        table = pandas_table(value, where)
    elif hasattr(value, "select_columns") and hasattr(value, "column_names") and hasattr(value, "to_list"):  # datasets
        table = _dataset_table(value, where)
    elif hasattr(value, "to_list"):
        table = _listed(value.to_list(), value, where, client)
    elif hasattr(value, "__arrow_c_stream__"):  # pyarrow, polars, duckdb
        import pyarrow as pa

        table = arrow_table(pa.table(value), where)
    else:
        plain = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
        table = _listed(list(value) if plain else None, value, where, client)
    if not table.size:
        raise DataError(_expected(where, "empty"))
    return table


def _listed(rows: Any, value: object, where: str, client: str) -> Table:
    if rows and all(isinstance(row, Example) for row in rows):
        ids = [f"{client}-{row.id}" if client else row.id for row in rows]  # clients number their examples alike
        own = ids if len(set(ids)) == len(ids) else []  # ids that come twice are none
        return from_rows(
            [row.fields for row in rows],
            where,
            (lambda row: f"example {own[row]}") if own else numbered_from_0,
            counting="" if own else FROM_0,
            ids=own,
        )
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise DataError(_expected(where, f"a {type(value).__name__}"))
    return from_rows(rows, where, numbered_from_0, counting=FROM_0)


def _dataset_table(dataset: Any, where: str) -> Table:
    keys = list(dataset.column_names)
    names = column_names(keys, where)
    key_of = dict(zip(names, keys, strict=True))

    def column(name: str) -> list[object]:  # of the other columns nothing is decoded
        return [cell(row[key_of[name]]) for row in dataset.select_columns([key_of[name]]).to_list()]

    return Table(where=where, names=names, size=len(dataset), column=column, place=numbered_from_0, counting=FROM_0)


def _expected(where: str, what: str) -> str:
    return (
        f"{where} is {what}; expected at least one example, in a list of mappings such as [{{'input': ..., 'target': ...}}] or of Example, a pandas "
        "DataFrame, a pyarrow.Table or a datasets.Dataset; or a mapping from names of clients to such tables"
    )
