"""The one style that all tables have."""

from rich import box
from rich.table import Table


def plain_table(title: str) -> Table:
    """Return an empty table in the one style that all of ours have; its first column, of names, is headed by `title`."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, header_style="dim", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(title, style="bold", no_wrap=True)
    return table
