"""What a run took: bytes and seconds, round by round."""

from itertools import accumulate
from typing import Any

from ....units import bytes_text, seconds_text
from ...read import Run
from ...run.figures import PHASES
from .chart import COLOURS, FAINT, INK, MAIN, OTHER, Chart, columns, draw, legend_above, marks, number, whole_rounds

SIDES = {"up_bytes": ("sent by clients", MAIN, 1), "down_bytes": ("sent to clients", OTHER, -1)}
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def bytes_by_round(run: Run) -> Chart | None:
    """Return what was sent up and down in each round of training, and all in all by kind of message."""
    rows = run.rows("rounds")
    traffic = run.summary.get("traffic", {})
    total = sum(float(traffic.get(side, 0)) for side in SIDES)
    if not rows or not total or run.alone:
        return None
    rounds = [int(row["round"]) for row in rows]
    heights = {side: [number(row.get(side)) or 0.0 for row in rows] for side in SIDES}
    size, unit = next((size, unit) for size, unit in UNITS if size == 1 or max(map(max, heights.values())) >= size)
    kinds = {kind: of for kind, of in (traffic.get("by_kind") or {}).items() if any(of.get(side) for side in SIDES)}

    def paint(over_rounds: Any, by_kind: Any) -> None:
        for side, (title, colour, sign) in SIDES.items():
            columns(over_rounds, rounds, [sign * height / size for height in heights[side]], color=colour, label=title)
        over_rounds.axhline(0, color=INK, linewidth=0.8)
        over_rounds.set_ylabel(f"{unit} a round of training")
        over_rounds.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        whole_rounds(over_rounds)
        left = [0.0] * len(kinds)
        for side, (_, colour, _) in SIDES.items():
            wide = [100 * float(of.get(side, 0)) / total for of in kinds.values()]
            by_kind.barh(range(len(kinds)), wide, left=left, color=colour, height=0.6)
            left = [a + b for a, b in zip(left, wide, strict=True)]
        by_kind.set_yticks(range(len(kinds)), list(kinds))
        by_kind.invert_yaxis()
        by_kind.set_xlabel("% of all bytes, by kind of message")
        legend_above(over_rounds)

    parts = "; ".join(f"{kind} {bytes_text(sum(float(of.get(side, 0)) for side in SIDES))}" for kind, of in kinds.items())
    return Chart(
        name="bytes",
        title=f"What was sent: {bytes_text(total)} in all",
        caption=(
            ""
            if run.settings.get("tuning", {}).get("ranks")
            else "Each round of training should cost the same, in both directions. "
        )
        + "Where evaluation takes most of the bytes, measure less often: evaluation.every.",
        alternative=f"By kind of message: {parts}.",
        svg=draw("bytes", paint, height=2.8, panels=2, names={1: list(kinds)}),
    )


def seconds_by_round(run: Run) -> Chart | None:
    """Return how long each round took, and where the whole time went."""
    rows = [(int(row["round"]), value) for row in run.rows("rounds") if (value := number(row.get("seconds"))) is not None]
    spent = run.summary.get("seconds", {})
    parts = {title: float(spent[name]) for name, title in PHASES if spent.get(name)}
    total = float(spent.get("total", 0))
    if not rows or not parts or not total:
        return None

    def paint(over_rounds: Any, by_part: Any) -> None:
        rounds = [round for round, _ in rows]
        over_rounds.plot(rounds, list(accumulate(value for _, value in rows)), color=MAIN, **marks(rounds))
        over_rounds.set_ylim(bottom=0)
        over_rounds.set_ylabel("seconds in rounds, summed up")
        whole_rounds(over_rounds)
        by_part.barh(range(len(parts)), [100 * value / total for value in parts.values()], height=0.6, color=COLOURS[0])
        by_part.set_yticks(range(len(parts)), list(parts))
        by_part.invert_yaxis()
        by_part.set_xlabel("% of the run's time")
        by_part.axvline(0, color=FAINT, linewidth=0.8)

    listed = ", ".join(f"{title} {seconds_text(value)}" for title, value in parts.items())
    return Chart(
        name="seconds",
        title=f"Where the time went: {seconds_text(total)} in all",
        caption="The line should be straight. A bend upwards is a machine that others use, or clients that answer late; much time in saving is a slow disk.",
        alternative=f"{listed}.",
        svg=draw("seconds", paint, height=2.6, panels=2, names={1: list(parts)}),
    )
