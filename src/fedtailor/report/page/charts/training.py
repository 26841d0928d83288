"""What a round's training does: its gain, what averaging takes back, and how far clients pull apart."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from ...read import Run
from ...run.gains import both_losses, taken_back
from ...wording import figure
from .chart import COLOURS, FAINT, MAIN, OTHER, Chart, columns, draw, legend_above, marks, number, whole_rounds

LIKENESS = {  # columns of clients.parquet: how they are called
    "cosine": "cosine to the mean update",
    "drift": "drift: distance to the mean, by its norm",
    "update_norm": "norm of the update",
}


def local_gain(run: Run) -> Chart | None:
    """Return by how much local training lowers the clients' validation losses in each round, and how much of it averaging takes back."""
    losses = both_losses(run)
    rounds = sorted(losses)
    if not rounds:
        return None
    gains = {round: fmean(before - after for before, after in losses[round].values()) for round in rounds}
    lost = {round: value for round in rounds if (value := taken_back(losses, round)) is not None}

    def paint(axes: Any) -> None:
        columns(axes, rounds, list(gains.values()), color=MAIN, label="gained by local training")
        if lost:
            axes.plot(list(lost), list(lost.values()), color=OTHER, **marks(rounds), label="taken back by averaging")
        axes.axhline(0, color=FAINT, linewidth=0.8)
        axes.set_ylabel("validation loss")
        legend_above(axes)
        whole_rounds(axes)

    share = f"; averaging took back {100 * fmean(lost.values()) / max(fmean(gains.values()), 1e-12):.0f} % of it" if lost else ""
    return Chart(
        name="local-gain",
        title="What local training gains, and what averaging takes back (mean over clients)",
        caption="While clients agree, averaging keeps most of what each gained. Where the line comes near the bars, clients pull in different directions: "
        "fewer local steps, a smaller learning rate, or a personal part for each help. A bar below zero is local training that does harm.",
        alternative=f"Local training lowered the validation loss by {figure('loss', fmean(gains.values()))} a round on average{share}.",
        svg=draw("local-gain", paint),
    )


def likeness(run: Run) -> Chart | None:
    """Return how alike the clients' updates are, by round: one panel for each figure that was measured."""
    asked, clients, *figures = run.columns("clients", "round", "client", *LIKENESS)
    values = {name: by_round for name, cells in zip(LIKENESS, figures, strict=True) if (by_round := _by_round(asked, cells))}
    if not values or len(set(clients)) < 2:
        return None

    def paint(*panels: Any) -> None:
        for axes, (name, by_round), colour in zip(panels, values.items(), COLOURS, strict=False):
            rounds = list(by_round)
            axes.fill_between(
                rounds,
                [min(v) for v in by_round.values()],
                [max(v) for v in by_round.values()],
                color=colour,
                alpha=0.2,
                linewidth=0,
            )
            axes.plot(rounds, [fmean(v) for v in by_round.values()], color=colour, **marks(rounds))
            axes.set_title(LIKENESS[name], fontsize=8.5)
            whole_rounds(axes)

    ends = ", ".join(f"{LIKENESS[name]} {figure('', fmean(list(by_round.values())[-1]))}" for name, by_round in values.items())
    return Chart(
        name="likeness",
        title="How alike the clients' updates are (mean over clients, and from least to most)",
        caption="A cosine that falls while the loss still improves is usual: what clients have in common is learned first. A cosine near zero from the first "
        "round on, or one client far below the others, means that their data have little in common, or that one of them sends something else.",
        alternative=f"In the last round: {ends}.",
        svg=draw("likeness", paint, height=2.4, panels=len(values)),
    )


def _by_round(rounds: Sequence[int], values: Sequence[Any]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = defaultdict(list)
    for round, value in zip(rounds, values, strict=True):
        if number(value) is not None:
            found[round].append(value)
    return dict(sorted(found.items()))
