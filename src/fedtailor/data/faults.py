"""What is wrong with the rows of a table, in one sentence."""

from collections.abc import Sequence

from .table import Table

SHOWN = 5  # rows of each kind of fault that are named; the others are counted
FILL = "fill them in or delete the rows, or set data.missing: drop, which leaves such rows out and counts them"


class Faults:
    """Collects the faults of one table, by column and kind."""

    def __init__(self, table: Table) -> None:
        """Take the table, which knows what its rows are called."""
        self._table = table
        self._found: dict[tuple[str, str], list[tuple[int, str]]] = {}
        self._advice: dict[str, None] = {}

    def add(self, row: int, column: str, what: str, advice: str, shown: str = "") -> None:
        """Note that a column `what` (such as "is no text") in a row, numbered from 0, what stands there, and what to do."""
        self._found.setdefault((column, what), []).append((row, shown))
        self._advice[advice] = None

    def __bool__(self) -> bool:
        return bool(self._found)

    def text(self) -> str:
        """Return all faults with their numbers, the first rows of each, and what to do."""
        rows = {row for found in self._found.values() for row, _ in found}
        kinds = [
            f"column {column} {what} in {_rows(len(found))} ({self._some(found)})"
            for (column, what), found in self._found.items()
        ]
        where = f"{self._table.where} ({self._table.counting})" if self._table.counting else self._table.where
        return (
            f"{where}: {len(rows):,} of {_rows(self._table.size)} cannot be used: {', '.join(kinds)}; {'; '.join(self._advice)}"
        )

    def _some(self, found: Sequence[tuple[int, str]]) -> str:
        some = [self._table.place(row) + (f" holds {shown}" if shown else "") for row, shown in found[:SHOWN]]
        return ", ".join(some) + (", ..." if len(found) > SHOWN else "")


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"


def listed(names: Sequence[str], most: int = 20) -> str:
    """Return names with commas between them, of many only the first."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
