"""How good the model became, round by round."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from ....metrics.figure import leading
from ...read import Run
from ...wording import figure, metric_name, plural
from .chart import FAINT, INK, MAIN, MOST_LINES, OTHER, THIRD, Chart, draw, legend_above, marks, number, short, whole_rounds

VALIDATION = "client-validation"  # scope of what is measured in every round


def convergence(run: Run) -> Chart | None:
    """Return the metric of each client's own validation part against the round, and of the test set where it is measured."""
    metric = _always_measured(run)
    lines = _by_client(run.columns("evaluations", "round", "client", "value", scope=VALIDATION, metric=metric))
    rounds = sorted({round for line in lines.values() for round in line})
    if len(rounds) < 2:
        return None
    means = {round: fmean(line[round] for line in lines.values() if round in line) for round in rounds}
    tested = {int(row["round"]): value for row in run.rows("rounds") if (value := number(row.get(f"test_{metric}"))) is not None}
    worst = _worst(lines, higher_is_better=run.higher_is_better(metric))
    kept = run.summary.get("best_round")

    def paint(axes: Any) -> None:
        if len(lines) <= MOST_LINES:
            for line in lines.values():
                axes.plot(list(line), list(line.values()), color=FAINT, linewidth=0.8)
        else:
            edges = [[line[round] for line in lines.values() if round in line] for round in rounds]
            axes.fill_between(
                rounds, [min(edge) for edge in edges], [max(edge) for edge in edges], color=FAINT, alpha=0.3, linewidth=0
            )
        axes.plot(list(lines[worst]), list(lines[worst].values()), color=OTHER, linestyle="--", label=f"worst: {short(worst)}")
        axes.plot(rounds, list(means.values()), color=MAIN, **marks(rounds), label="mean client")
        if tested:
            axes.plot(list(tested), list(tested.values()), color=THIRD, linestyle=":", **marks(rounds, "s"), label="test set")
        if kept in means:
            axes.axvline(kept, color=INK, linewidth=0.8, linestyle=":")
            axes.annotate(
                "kept", (kept, 0.02), xycoords=("data", "axes fraction"), ha="right", va="bottom", rotation=90, fontsize=8
            )
        axes.set_ylabel(f"validation {metric_name(metric)}")
        legend_above(axes)
        whole_rounds(axes)

    first, last = means[rounds[0]], means[rounds[-1]]
    return Chart(
        name="convergence",
        title=f"{metric_name(metric)} on the clients' own validation parts (n = {plural(len(lines), 'client')})",
        caption="The mean should level off, and the worst client move with it. A mean that rises again for a loss is overfitting or a learning rate "
        "too large; a worst client that stands still while the mean improves is one that the shared model does not serve.",
        alternative=f"Mean over clients from {figure(metric, first)} before the first round to {figure(metric, last)} after round {rounds[-1]}; "
        f"worst client {worst}, at {figure(metric, list(lines[worst].values())[-1])}.",
        svg=draw("convergence", paint),
    )


def _always_measured(run: Run) -> str:
    """Return the leading metric among those of every round that is measured; the texts that some are made of are written less often."""
    measured = set(zip(*run.columns("evaluations", "round", "metric", scope=VALIDATION), strict=True))
    rounds = {round for round, _ in measured}
    counts = Counter(metric for _, metric in measured)
    return leading(metric for metric, count in counts.items() if count == len(rounds))


def _by_client(columns: Sequence[Sequence[Any]]) -> dict[str, dict[int, float]]:
    """Return the values of each client by round, from columns of rounds, clients and values."""
    lines: dict[str, dict[int, float]] = defaultdict(dict)
    for round, client, value in zip(*columns, strict=True):
        if number(value) is not None:
            lines[client][round] = value
    return {client: dict(sorted(line.items())) for client, line in lines.items()}


def _worst(lines: dict[str, dict[int, float]], *, higher_is_better: bool) -> str:
    """Return the client whose last value is worst."""
    ends = {client: list(line.values())[-1] for client, line in lines.items()}
    return (min if higher_is_better else max)(ends, key=lambda client: ends[client])
