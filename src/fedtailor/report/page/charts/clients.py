"""Who has what, who gains, and who came and went."""

from collections import Counter, defaultdict
from statistics import fmean
from typing import Any

from ....metrics.figure import leading
from ...read import Run
from ...wording import figure, metric_name, plural
from .chart import FAINT, INK, MAIN, MOST_ROWS, OTHER, THIRD, Chart, both_ends, draw, legend_above, number, short, whole_rounds

MOST_CELLS = 2_000  # drawn one by one; more become a picture
PARTS = {"train": MAIN, "validation": OTHER, "test": THIRD}


def gains(run: Run) -> Chart | None:
    """Return each client's metric on its own test part, before and after."""
    figures = run.client_figures
    metric = leading({name for _, after in figures.values() for name in after})
    known = {
        client: (before[metric], after[metric])
        for client, (before, after) in figures.items()
        if metric in before and metric in after
    }
    if len(known) < 2:
        return None
    better = 1 if run.higher_is_better(metric) else -1
    ordered = sorted(known, key=lambda client: better * (known[client][1] - known[client][0]))
    shown = both_ends(ordered)
    losers = [client for client in ordered if better * (known[client][1] - known[client][0]) < 0]

    def paint(axes: Any) -> None:
        for place, client in enumerate(shown):
            before, after = known[client]
            colour = OTHER if client in losers else MAIN
            axes.annotate(
                "", (after, place), (before, place), arrowprops={"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0}
            )
            axes.plot([before], [place], color=FAINT, marker="o", markersize=4)
            axes.plot([after], [place], color=colour, marker="o", markersize=4)
        axes.axvline(fmean(after for _, after in known.values()), color=INK, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(shown)), [short(client) for client in shown], fontsize=8)
        axes.set_ylim(-0.7, len(shown) - 0.3)
        axes.set_xlabel(f"test {metric_name(metric)}, before → after; dotted: mean after")

    left_out = f", the {MOST_ROWS // 2} that gained least and most of {len(ordered)}" if len(shown) < len(ordered) else ""
    return Chart(
        name="gains",
        title=f"For whom: {metric_name(metric)} on each client's own test part (n = {plural(len(known), 'client')}{left_out})",
        caption="Each arrow leads from before to after; orange ones got worse. Small clients, and those whose data differ from all others, lose first: "
        "look at their rows before you trust the mean.",
        alternative=f"{len(known) - len(losers)} of {plural(len(known), 'client')} did not get worse"
        + (f"; worse off: {', '.join(losers[:5])}." if losers else "."),
        svg=draw("gains", paint, height=max(1.8, 0.24 * len(shown) + 0.9), names={0: [short(client) for client in shown]}),
    )


def losses_by_client(run: Run) -> Chart | None:
    """Return each client's training loss in each round as a heat map; grey where it did not take part."""
    asked, clients, losses = run.columns("clients", "round", "client", "last_loss")
    cells = {
        (client, round): loss for round, client, loss in zip(asked, clients, losses, strict=True) if number(loss) is not None
    }
    names, rounds = sorted({client for client, _ in cells}), sorted({round for round in asked if round is not None})
    if len(names) < 2 or len(rounds) < 2:
        return None
    shown = names if len(names) <= MOST_ROWS else [names[place * len(names) // MOST_ROWS] for place in range(MOST_ROWS)]
    absent = sum((client, round) not in cells for client in names for round in rounds)

    def paint(axes: Any) -> None:
        import numpy as np

        grid = np.array([[cells.get((client, round), np.nan) for round in rounds] for client in shown])
        axes.set_facecolor(FAINT)
        axes.patch.set_alpha(0.35)
        image = axes.pcolormesh(
            [*(round - 0.5 for round in rounds), rounds[-1] + 0.5],
            np.arange(len(shown) + 1),
            grid,
            cmap="cividis",
            rasterized=grid.size > 2_000,
        )
        axes.figure.colorbar(image, ax=axes, label="training loss")
        axes.set_yticks(np.arange(len(shown)) + 0.5, [short(client) for client in shown], fontsize=8)
        axes.grid(visible=False)
        axes.invert_yaxis()
        whole_rounds(axes)

    some = f", {MOST_ROWS} of {len(names)} drawn" if len(shown) < len(names) else ""
    return Chart(
        name="losses",
        title=f"Training loss at the end of each client's round (n = {plural(len(names), 'client')}{some})",
        caption="Rows should grow darker to the right. A row that stays bright has data that the shared model does not fit; grey is a round without that "
        "client: it was not asked, or it failed (the events say which).",
        alternative=f"{absent} of {len(names) * len(rounds)} cells are without a client's loss.",
        svg=draw("losses", paint, height=max(1.8, 0.2 * len(shown) + 1.0), names={0: [short(client) for client in shown]}),
    )


def partition(run: Run) -> Chart | None:
    """Return how many examples each client has, by part."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for client, part in zip(*run.columns("partition", "client", "part"), strict=True):
        counts[str(client)][str(part)] += 1
    if len(counts) < 2:
        return None
    ordered = sorted(counts, key=lambda client: -counts[client]["train"])
    shown = both_ends(ordered)
    sizes = [counts[client]["train"] for client in ordered]

    def paint(axes: Any) -> None:
        left = [0] * len(shown)
        for part, colour in PARTS.items():
            wide = [counts[client][part] for client in shown]
            axes.barh(range(len(shown)), wide, left=left, color=colour, height=0.7, label=part)
            left = [a + b for a, b in zip(left, wide, strict=True)]
        axes.set_yticks(range(len(shown)), [short(client) for client in shown], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel("examples")
        legend_above(axes)

    data = run.summary.get("data") or {}
    differ = (
        f"; their data differ by {figure('', data['divergence'])} (Jensen-Shannon)"
        if number(data.get("divergence")) is not None
        else ""
    )
    left_out = f", the {MOST_ROWS // 2} largest and smallest drawn" if len(shown) < len(ordered) else ""
    return Chart(
        name="partition",
        title=f"Who has how much (n = {plural(len(ordered), 'client')}{left_out}{differ})",
        caption="A client's weight in the average is its number of training examples: one that has most of them decides most. Figures on a few test "
        "examples are noisy.",
        alternative=f"From {min(sizes):,} to {max(sizes):,} training examples a client.",
        svg=draw("partition", paint, height=max(1.8, 0.22 * len(shown) + 0.9), names={0: [short(client) for client in shown]}),
    )
