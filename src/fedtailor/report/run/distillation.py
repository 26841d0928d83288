"""What distillation gave: the server's model, the clients' own, and how well the public set fits."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ...metrics.figure import leading
from ..plain import plain_table
from ..read import Run
from ..wording import figure, metric_name, plural

SCOPES = (("mean", "mean client"), ("worst", "worst client"), ("p10", "10th percentile"))


def distillation(run: Run, most: int = 20) -> RenderableType | None:
    """Return a row per client: its own model after the last alignment, on its own held-out part and on the public test set; and how
    well a classifier distinguishes its examples from the public ones. None if nothing was distilled."""
    section = run.summary.get("distillation")
    if not isinstance(section, Mapping):
        return None
    columns = {name: title for name, title in (("own", "own part"), ("public", "test set")) if name in section}
    means: Mapping[str, Any] = next((section[name].get("mean", {}) for name in columns), {})
    metric = leading(means)
    fit = section.get("public_set", {}).get("told_apart", {})
    table = plain_table(f"own models: {metric_name(metric)}")
    for title in (*columns.values(), *(["distinguished"] if fit else [])):
        table.add_column(title, justify="right")
    for key, title in SCOPES if columns else ():
        cells = [figure(metric, section[name].get(key, {}).get(metric)) for name in columns]
        table.add_row(title, *cells, *([figure("accuracy", fit.get("mean")) if key == "mean" else ""] if fit else []))
    clients: Mapping[str, Any] = section.get("clients", {})
    scores: Mapping[str, Any] = fit.get("clients", {})
    names = sorted(clients.keys() | scores.keys())
    for client in names[:most]:
        own = clients.get(client, {})
        cells = [figure(metric, own.get(name, {}).get(metric)) for name in columns]
        table.add_row(Text(client, style="not bold"), *cells, *([figure("accuracy", scores.get(client))] if fit else []))
    if len(names) > most:
        table.add_row(Text(f"and {len(names) - most} more", style="dim"))
    if "public" in section:
        value = run.summary["metrics"].get("after", {}).get(metric)
        blank = [""] * (len(columns) - 1)
        table.add_row(Text("server's model", style="dim"), *blank, figure(metric, value), *([""] if fit else []))
    return Group(table, *_public(section.get("public_set", {})))


def _public(section: Mapping[str, Any]) -> list[RenderableType]:
    """Return a line about the public set."""
    parts = [f"{int(section.get('examples', 0)):,} public examples, {int(section.get('labelled', 0)):,} with labels"]
    if section.get("a_round") != section.get("examples"):
        parts.append(f"{int(section.get('a_round', 0)):,} a round")
    if "told_apart" in section:
        parts.append("distinguished: 0.5 is a public set like the clients' own, 1 one that has nothing in common with them")
    if section.get("labels_unlike") is not None:
        parts.append(f"labels differ by {section['labels_unlike']:.3f} (Jensen-Shannon: 0 alike, 1 disjoint)")
    refined = section.get("refined")
    if refined:
        parts.append(
            f"rows drawn by what {plural(int(refined['scored_by']), 'client')} reported: mean score {refined['score']:.3f}, of all rows "
            f"{refined['score_of_all']:.3f} (0.5 is even)"
        )
    return [Text("; ".join(parts), style="dim")]
