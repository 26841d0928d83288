"""Tables with types: Parquet, and what pandas, pyarrow and their like hold in memory."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import DataError
from .cells import cell, clock, duration, moment
from .table import FROM_0, FROM_1, Table, column_names, numbered_from_0, numbered_from_1

MOST_BYTES, MOST_RATIO = 2**28, 50  # that a column may unpack to: bytes in any case, and times its encoded size
BATCH = 4096  # rows read at once

# Dates are read from their numbers: Python's calendar ends in 9999, and not every zone is known to every machine.


def parquet_table(source: Any, where: str) -> Table:
    """Return the table of a Parquet file, given by its path or an open file; columns are read when they are asked for.

    Raises:
        DataError: if two columns have one name.
        pyarrow.ArrowException: if the file cannot be read.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(source)
    names = file.schema_arrow.names
    stripped = column_names(names, where)

    encoded = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))

    def read(number: int) -> Any:
        found = _bounded(file, names[number], max(MOST_BYTES, MOST_RATIO * encoded), where)
        place = found.column_names.index(names[number]) if names[number] in found.column_names else None
        return (
            file.read().column(number) if place is None else found.column(place)
        )  # a point in a name asks for a part of a struct

    return _typed(stripped, file.metadata.num_rows, where, read, first=1)


def _bounded(file: Any, name: str, most: int, where: str) -> Any:
    """Return one column of a Parquet file as a table, unless a few bytes of the file would fill the memory."""
    import pyarrow as pa

    batches, total = [], 0
    for batch in file.iter_batches(batch_size=BATCH, columns=[name]):
        plain = [column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in batch.columns]
        batches.append(pa.RecordBatch.from_arrays(plain, names=batch.schema.names))  # a few texts, however often they stand there
        total += batches[-1].nbytes
        if total > most:
            raise DataError(
                f"{where}: column {name!r} unpacks to more than {most:,} bytes, {MOST_RATIO} times the file; write it again with fewer rows "
                "if that is meant"
            )
    return pa.Table.from_batches(batches) if batches else file.read(columns=[name])


def arrow_table(table: Any, where: str) -> Table:
    """Return the table of a pyarrow Table in memory."""
    return _typed(column_names(table.column_names, where), table.num_rows, where, table.column, first=0)


def pandas_table(frame: Any, where: str) -> Table:
    """Return the table of a pandas DataFrame; its index is no column."""
    names = column_names(frame.columns, where)
    number_of = {name: number for number, name in enumerate(names)}
    return Table(
        where=where,
        names=names,
        size=len(frame),
        column=lambda name: _pandas_cells(frame.iloc[:, number_of[name]]),
        place=numbered_from_0,
        counting=FROM_0,
    )


def _typed(names: Sequence[str], size: int, where: str, read: Callable[[int], Any], *, first: int) -> Table:
    number_of = {name: number for number, name in enumerate(names)}

    def column(name: str) -> list[object]:
        try:
            return arrow_cells(read(number_of[name]))
        except (ValueError, OverflowError, OSError, NotImplementedError) as error:  # pyarrow's own are among these
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(f"{where}: column {name!r} cannot be read ({reason}); write the column again as text") from error

    return Table(
        where=where,
        names=names,
        size=size,
        column=column,
        place=numbered_from_1 if first else numbered_from_0,
        counting=FROM_1 if first else FROM_0,
    )


def arrow_cells(column: Any) -> list[object]:  # noqa: PLR0911, a table of types
    """Return the cells of a column of pyarrow's."""
    import pyarrow as pa
    import pyarrow.types as kinds

    if kinds.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        return [one for chunk in chunks for one in arrow_cells(chunk.storage)]
    if kinds.is_string(kind) or kinds.is_large_string(kind):
        return [text or None for text in column.to_pylist()]
    if kinds.is_float16(kind) or kinds.is_float32(kind):
        exact = np.float32 if kinds.is_float32(kind) else np.float16
        return [None if number is None else cell(exact(number)) for number in column.to_pylist()]
    if kinds.is_date32(kind):
        return _each(column.cast(pa.int32()), lambda days: str(np.datetime64(days, "D")))
    if kinds.is_date64(kind):
        return _each(column.cast(pa.int64()), lambda count: moment(str(np.datetime64(count, "ms")), zoned=False))
    if kinds.is_timestamp(kind):
        zoned, unit = kind.tz is not None, kind.unit
        return _each(column.cast(pa.int64()), lambda count: moment(str(np.datetime64(count, unit)), zoned=zoned))
    if kinds.is_duration(kind):
        return _each(column.cast(pa.int64()), lambda count: duration(count, kind.unit))
    if kinds.is_time(kind):
        return _each(column.cast(pa.int32() if kinds.is_time32(kind) else pa.int64()), lambda count: clock(count, kind.unit))
    return [cell(value) for value in column.to_pylist()]


def _each(numbers: Any, text: Callable[[int], str]) -> list[object]:
    return [None if number is None else text(number) for number in numbers.to_pylist()]


def _pandas_cells(series: Any) -> list[object]:
    import pandas as pd
    import pyarrow as pa

    kind = series.dtype
    if isinstance(kind, pd.ArrowDtype):
        return arrow_cells(pa.chunked_array([pa.array(series.array)]) if len(series) else pa.array([]))
    if isinstance(kind, pd.DatetimeTZDtype) or kind.kind in "mM":
        return arrow_cells(pa.array(series, from_pandas=True))
    if isinstance(kind, np.dtype) and kind.kind == "f":
        return [cell(number) for number in series.to_numpy()]  # keeps float32, whose shortest form is its own
    return [cell(value) for value in series.astype(object).tolist()]
