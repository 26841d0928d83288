"""NumPy's .npz files as tables: each array is a column, its first axis the rows."""

import zipfile
from pathlib import Path

import numpy as np

from ..errors import DataError
from .cells import Unreadable, cell
from .table import FROM_0, Table, column_names, numbered_from_0

MOST_BYTES, MOST_RATIO = 2**30, 200  # that a file may unpack to: bytes in any case, and times its size


def npz_table(path: Path) -> Table:
    """Return the table of a .npz file; objects, which would be unpickled, are refused.

    Raises:
        DataError: if it is damaged, unpacks to far more than it is, holds objects, or arrays of different lengths.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            whole = sum(entry.file_size for entry in packed.infolist())
        if whole > max(MOST_BYTES, MOST_RATIO * path.stat().st_size):
            raise DataError(
                f"{path} unpacks to {whole:,} bytes, more than {MOST_RATIO} times its size; write fewer rows into one file"
            )
        with np.load(path, allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as fault:
        raise DataError(
            f"{path} cannot be read as a .npz file of plain arrays ({str(fault).splitlines()[0] if str(fault) else type(fault).__name__}); "
            "write it with numpy.savez(path, image=..., label=...)"
        ) from fault
    columns = dict(zip(column_names(arrays, str(path)), arrays.values(), strict=True))
    lengths = {name: array.shape[0] if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) != 1 or not all(array.ndim for array in arrays.values()):
        shapes = ", ".join(f"{name} {tuple(array.shape)}" for name, array in arrays.items()) or "none"
        raise DataError(f"{path} holds arrays of different lengths ({shapes}); all must have as many rows")

    def column(name: str) -> list[object]:
        values = columns[name]
        return [cell(value) for value in values] if values.ndim == 1 else [Unreadable("an array", value) for value in values]

    return Table(
        where=str(path),
        names=list(columns),
        size=next(iter(lengths.values())),
        column=column,
        place=numbered_from_0,
        counting=FROM_0,
    )
