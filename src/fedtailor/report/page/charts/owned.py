"""Who owns what: the groups of examples that a partition goes by, or their labels."""

from collections import Counter, defaultdict
from typing import Any

from ...read import Run
from ...wording import figure, plural
from .chart import MOST_ROWS, Chart, both_ends, draw, number, short

MOST_GROUPS = 30
MOST_NAMED = 15  # groups whose names fit below


def owned(run: Run) -> Chart | None:
    """Return the share of each group in each client's training examples, as a heat map."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for client, part, group in zip(*run.columns("partition", "client", "part", "group"), strict=True):
        if part == "train" and group:
            counts[str(client)][str(group)] += 1
    total = sum(counts.values(), Counter())
    if len(counts) < 2 or len(total) < 2:
        return None
    groups = [group for group, _ in total.most_common(MOST_GROUPS)]
    shown = both_ends(sorted(counts, key=lambda client: -counts[client].total()))
    data = run.summary.get("data") or {}
    over = str(data.get("divergence_over") or "group")

    def paint(axes: Any) -> None:
        import numpy as np

        grid = np.array([[counts[client][group] / counts[client].total() for group in groups] for client in shown])
        image = axes.pcolormesh(grid, cmap="cividis", vmin=0, vmax=1, rasterized=grid.size > 300)
        axes.figure.colorbar(image, ax=axes, label="share of its examples")
        axes.set_yticks(np.arange(len(shown)) + 0.5, [short(client) for client in shown], fontsize=8)
        named = {"rotation": 30, "ha": "right", "fontsize": 7} if len(groups) <= MOST_NAMED else {}
        axes.set_xticks(
            np.arange(len(groups)) + 0.5 if named else [], [short(group) for group in groups] if named else [], **named
        )
        axes.set_xlabel(over if named else f"{over}, the most frequent first")
        axes.grid(visible=False)
        axes.invert_yaxis()

    differ = f"; divergence {figure('', data['divergence'])}" if number(data.get("divergence")) is not None else ""
    some = f", {MOST_ROWS} of {len(counts)} drawn" if len(shown) < len(counts) else ""
    most = max(((c[g] / c.total(), client, g) for client, c in counts.items() for g in groups), key=lambda each: each[0])
    left_out = f", the {MOST_GROUPS} most frequent of {len(total)}" if len(groups) < len(total) else ""
    return Chart(
        name="owned",
        title=f"Who owns what, by {over} (n = {plural(len(counts), 'client')}{some}{differ})",
        caption="Rows that look alike are clients with like data. A client with a single bright cell has nothing in common with the others: what all "
        "learn together serves it least, and its share says something of it.",
        alternative=f"{plural(len(groups), 'group')}{left_out}; the largest share is {100 * most[0]:.0f} % of {most[1]} for {most[2]}.",
        svg=draw(
            "owned", paint, height=max(2.2, 0.22 * len(shown) + 1.6), below=2, names={0: [short(client) for client in shown]}
        ),
    )
