"""A recipe in words: what the paper reports, and which settings are its own."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..plain import plain_table

STYLES = {"the paper's": "green", "assumed": "yellow", "small variant": "cyan", "tiny variant": "cyan", "yours": "magenta"}
TAGS = "[S] a secondary summary of the paper  [A] its abstract  [V] read in a public page  [D] derived  [M] general knowledge, not checked"
REST = "All other settings have fedtailor's defaults, which no paper vouches for."


def show_recipe(
    *,
    name: str,
    variant: str,
    title: str,
    paper: str,
    status: str,
    baseline: str | None,
    reports: Sequence[str],
    cautions: Sequence[str],
    lines: Iterable[tuple[str, str, str, str]],
    sweeps: Mapping[str, str],
    arms: Mapping[str, tuple[str, Sequence[str]]] | None = None,
    seeds: Sequence[int] = (),
    size: str = "",
) -> RenderableType:
    """Return all that is said about one variant of a recipe.

    Args:
        lines: setting, value, whose it is, and where it is from.
        sweeps: name -> what to give to fedtailor sweep.
        arms: of a comparison: system -> what it is, and the grids that it is run over.
        seeds: of every cell of every arm.
        size: how many cells a variant has, and how long they take.
    """
    how = f", run as the baseline {baseline}" if baseline else ""
    parts: list[RenderableType] = [
        Text.assemble((name, "bold"), f"  {title}"),
        Text(f"{paper}  ·  {variant} variant{how}  ·  {status}", style="dim"),
        "",
        *_list("the paper reports", reports),
        *_list("mind", cautions),
        settings_table(lines),
        Text(REST, style="dim"),
        Text(TAGS, style="dim"),
    ]
    if arms:
        parts += [
            "",
            _arms_table(arms),
            Text(f"each with seed {', '.join(map(str, seeds))}" + (f"; {size}" if size else ""), style="dim"),
        ]
    if sweeps:
        parts += ["", Text("its grid, for a machine that can carry it:", style="dim")]
        parts += [Text(f"fedtailor sweep {name}.yaml {' '.join(words.split())}") for words in sweeps.values()]
    return Padding(Group(*parts), (1, 2), expand=False)


def settings_table(lines: Iterable[tuple[str, str, str, str]]) -> Table:
    """Return a row for each setting: its value, whose it is, and where it is from."""
    table = plain_table("setting")
    for title in ("value", "whose", "from"):
        table.add_column(title, overflow="fold")
    for setting, value, whose, note in lines:
        table.add_row(
            Text(setting), Text(repr(value) if "\n" in value else value), Text(whose, style=STYLES.get(whose, "")), Text(note)
        )
    return table


def _arms_table(arms: Mapping[str, tuple[str, Sequence[str]]]) -> Table:
    """Return a row for each system that a recipe compares."""
    table = plain_table("system")
    for title in ("what it is", "cells"):
        table.add_column(title, overflow="fold")
    for name, (about, grids) in arms.items():
        table.add_row(name, Text(about), Text("; ".join(grids)))
    return table


def list_recipes(rows: Iterable[tuple[str, str, str]]) -> RenderableType:
    """Return a row for each recipe: name, title, status."""
    table = plain_table("recipe")
    table.add_column("experiment", overflow="fold")
    table.add_column("status", no_wrap=True)
    for name, title, status in rows:
        table.add_row(name, Text(title), Text(status, style="dim"))
    return Padding(table, (1, 2), expand=False)


def _list(title: str, texts: Sequence[str]) -> list[RenderableType]:
    if not texts:
        return []
    return [Text(title, style="dim"), *(Padding(Text(f"- {text}"), (0, 0, 0, 2)) for text in texts), ""]
