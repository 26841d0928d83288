"""What personalization gave each client: base, global and personal weights, side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ...metrics.figure import directions, leading
from ..plain import plain_table
from ..read import Run
from ..wording import figure, metric_name

COLUMNS = (("base", "base"), ("local", "local-only"), ("global", "global"), ("personal", "personal"))
SCOPES = (("mean", "mean client"), ("worst", "worst client"), ("p10", "10th percentile"))


def personal(run: Run, most: int = 20) -> Table | None:
    """Return a row for the mean, worst and 10th percentile client and one per client; None if nothing is personal.

    Base, local-only (if it was asked for), global and personal are on the client's own held-out part; the last column is the personal
    weights on the public test set, beside the global ones there: what was forgotten. A client that kept the global weights, or was never
    asked to train, is marked.
    """
    section = run.summary.get("personal")
    if not section:
        return None
    means = section.get("personal", {}).get("mean", {})
    metric = leading(means)
    table = plain_table(f"personal: {metric_name(metric)}")
    shown = [name for name, _ in COLUMNS if name in section or name != "local"]
    for name in shown:
        table.add_column(dict(COLUMNS)[name], justify="right")
    if "public" in section:
        shown.append("public")
        table.add_column("personal, on the test set", justify="right")
    for key, title in SCOPES:
        table.add_row(title, *_cells(metric, {name: section.get(name, {}).get(key, {}) for name in shown}))
    if "retained" in section:
        table.add_row("loss on general text", *_retained(run, [name for name in shown if name != "public"], len(shown)))
    clients = section.get("clients", {})
    for client, of in list(clients.items())[:most]:
        table.add_row(
            Text(client, style="not bold"),
            *_cells(metric, {name: of.get(name, {}) for name in shown}, note="" if of.get("kept", True) else " (not its own)"),
        )
    if len(clients) > most:
        table.add_row(Text(f"and {len(clients) - most} more", style="dim"))
    if "public" in shown:
        blank = [""] * (len(shown) - 1)
        table.add_row(
            Text("global, on the test set", style="dim"), *blank, figure(metric, run.summary["metrics"]["after"].get(metric))
        )
    return table


def _retained(run: Run, shown: Sequence[str], columns: int) -> list[Text]:
    """Return the losses on general text: of the base, of those trained alone, of the shared and of the personal weights, as far as they are shown."""
    section, whole = run.summary["personal"], run.summary.get("retained", {})
    losses = {
        "base": whole.get("before", {}),
        "global": whole.get("after", {}),
        "local": section.get("local_retained", {}).get("mean", {}),
        "personal": section["retained"].get("mean", {}),
    }
    return [*_cells("loss", {name: losses[name] for name in shown}), *[Text("")] * (columns - len(shown))]


def _cells(metric: str, of: Mapping[str, Mapping[str, Any]], *, note: str = "") -> list[Text]:
    """Return one row's figures; the personal one is green where it is better than the global one, red where it is worse."""
    values = {name: figures.get(metric) for name, figures in of.items()}
    style, shared, own = "dim", values["global"], values["personal"]
    if shared is not None and own is not None and own != shared:
        style = "green" if (own > shared) == directions().get(metric, False) else "red"
    return [
        Text(figure(metric, value) + note, style=style) if name == "personal" else Text(figure(metric, value))
        for name, value in values.items()
    ]
