"""The one style that all tables have."""

import copy
from dataclasses import replace

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

GAP = 2  # signs from one column to the next
SHORT = 16  # signs of a cell that is not wrapped


class FittingTable(Table):
    """A table that is never squeezed until words break: columns that do not fit stand below, each part with the first column."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the parts, from left to right, with an empty line between."""
        needs = [_needs(column, console, options) for column in self.columns]
        for place, group in enumerate(_groups(needs, options.max_width)):
            if place:
                yield Text()
            yield from Table.__rich_console__(self._part(group, needs, options.max_width), console, options)

    def _part(self, group: list[int], needs: list[tuple[int, int]], room: int) -> Table:
        """Return a table of some columns; the widest are narrowed first, and none below its longest word."""
        widths = [needs[index][1] for index in group]
        while sum(widths) + GAP * (len(group) - 1) > room:
            slack, place = max((widths[place] - needs[index][0], place) for place, index in enumerate(group))
            if slack <= 0:
                break  # a word is wider than the terminal
            widths[place] -= 1
        part = copy.copy(self)
        part.columns = [
            replace(self.columns[index], _index=place, width=width, no_wrap=False, overflow="fold")
            for place, (index, width) in enumerate(zip(group, widths, strict=True))
        ]
        return part


def plain_table(title: str) -> Table:
    """Return an empty table in the one style that all of ours have; its first column, of names, is headed by `title`."""
    table = FittingTable(box=box.SIMPLE_HEAD, show_edge=False, header_style="dim", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(title, style="bold", overflow="fold")
    return table


def _needs(column: Column, console: Console, options: ConsoleOptions) -> tuple[int, int]:
    """Return the least width of a column that breaks nothing, and the width that it would like; numbers are not wrapped."""
    wide = options.update(max_width=10_000)
    head = Measurement.get(console, wide, column.header)
    cells = [Measurement.get(console, wide, cell) for cell in column.cells]
    widest = max([head.minimum, *(cell.maximum for cell in cells)])
    whole = column.justify == "right" or column.no_wrap or widest <= SHORT
    least = widest if whole else max([head.minimum, *(cell.minimum for cell in cells)])
    return min(least, max(options.max_width // 2, head.minimum)), max(widest, head.maximum)


def _groups(needs: list[tuple[int, int]], room: int) -> list[list[int]]:
    """Return the numbers of the columns of each part; the first column heads every one."""
    groups, used = [[0]], needs[0][0]
    for index in range(1, len(needs)):
        more = GAP + needs[index][0]
        if used + more > room and len(groups[-1]) > 1:
            groups.append([0])
            used = needs[0][0]
        groups[-1].append(index)
        used += more
    return groups
