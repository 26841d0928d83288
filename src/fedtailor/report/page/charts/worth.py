"""What the bytes of a run bought."""

from itertools import accumulate
from typing import Any

from ....units import bytes_text
from ...read import Run
from ...wording import figure
from .chart import MAIN, Chart, draw, marks, number

UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def against_bytes(run: Run) -> Chart | None:
    """Return the validation loss against all that was sent in training until then."""
    losses, ups, downs = run.columns("rounds", "validation_loss", "up_bytes", "down_bytes")
    sent = list(accumulate((number(up) or 0.0) + (number(down) or 0.0) for up, down in zip(ups, downs, strict=True)))
    points = [(bytes, loss) for bytes, loss in zip(sent, losses, strict=True) if number(loss) is not None]
    if run.alone or len(points) < 2 or not sent[-1]:
        return None
    size, unit = next((size, unit) for size, unit in UNITS if size == 1 or sent[-1] >= size)
    start = number((run.summary.get("validation_loss") or {}).get("before"))
    line = [(0.0, start), *points] if start is not None else points

    def paint(axes: Any) -> None:
        axes.plot([bytes / size for bytes, _ in line], [loss for _, loss in line], color=MAIN, **marks([0] * len(line)))
        axes.set_xlabel(f"{unit} sent by and to all clients in training")
        axes.set_ylabel("validation loss")

    gained, half = line[0][1] - points[-1][1], sent[-1] / 2
    early = min((loss for bytes, loss in points if bytes <= half), default=line[0][1])
    share = f"; the first half of them bought {100 * (line[0][1] - early) / gained:.0f} % of it" if gained > 0 else ""
    return Chart(
        name="worth",
        title="Validation loss against bytes",
        caption="The curve flattens where further rounds buy little: a run may stop there (stop.patience). It can be held against that of another job, as "
        "bytes are the same everywhere.",
        alternative=f"{bytes_text(sent[-1])} bought a fall of the loss by {figure('loss', gained)}{share}.",
        svg=draw("worth", paint, height=2.6),
    )
