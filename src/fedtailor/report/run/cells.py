"""Cells of tables that say how a figure has moved."""

from rich.text import Text

from ..wording import change, figure


def arrow(metric: str, before: object, after: object) -> Text:
    """Return a figure before and after; a dash if there is none."""
    if before is None and after is None:
        return Text("–", style="dim")
    return Text.assemble((f"{figure(metric, before, brief=True)} → ", "dim"), figure(metric, after, brief=True))


def judged(before: object, after: object, higher_is_better: bool) -> Text:
    """Return the change, green if it is for the better."""
    if not isinstance(before, int | float) or not isinstance(after, int | float) or before == after:
        return Text(change(before, after), style="dim")
    return Text(change(before, after), style="green" if (after > before) == higher_is_better else "red")
