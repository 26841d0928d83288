"""Training that diverges: losses or weights that become NaN, infinite or too large, said with step and what to change.

What a client may say of a fault is a kind and a mark, a single word. The mark of a divergence is spelled so that the server can
read step and loss out of it; nothing else of the client is in it.
"""

import math
import re
from collections.abc import Iterable

from .errors import NotFinite, TooLarge

MARK = re.compile(r"Diverged([A-Z][A-Za-z]*?)Became(NaN|Infinite|TooLarge)(?:InStep(\d{1,9}))?")
ENDS = {"NaN": "NaN", "Infinite": "infinite", "TooLarge": "too large"}
MOST_LOSS = 1e6  # that a client can report; cross-entropies of models that learn are below 100
SETTING = "protocol.local.learning_rate"
SAID = {NotFinite.__name__: "what it sent is not finite", TooLarge.__name__: "what it sent is larger than the manifest allows"}


class Diverged(NotFinite):
    """A loss or weights became NaN, infinite or too large at one client."""

    def __init__(
        self, what: str, value: float, *, round: int | None = None, step: int | None = None, rate: float | None = None
    ) -> None:
        """Take what diverged ("training loss", "validation loss", "weights"), its value, and where: round, step, learning rate."""
        self.mark = f"Diverged{what.title().replace(' ', '')}Became{_end(value)}"
        self.mark += f"InStep{step}" if step is not None else ""
        place = f" of round {round}" if round is not None else ""
        at = f" at a learning rate of {rate:g}" if rate is not None else ""
        super().__init__(
            f"{wording('not-finite', self.mark)}{place}{at}; lower its learning_rate, or clip gradients with clip_norm"
        )


def check_loss(what: str, loss: float, *, round: int | None = None, step: int | None = None, rate: float | None = None) -> None:
    """Raise Diverged if a loss is NaN, infinite, or larger than a client can report."""
    if not loss <= MOST_LOSS:
        raise Diverged(what, loss, round=round, step=step, rate=rate)


def wording(kind: str, mark: str) -> str:
    """Return why a client was dropped, for people."""
    found = MARK.fullmatch(mark)
    if found is None:
        return SAID.get(mark, f"{kind} ({mark})")
    what = re.sub(r"(?<!^)(?=[A-Z])", " ", found[1]).lower()
    step = f" in step {found[3]}" if found[3] else ""
    return f"its {what} became {ENDS[found[2]]}{step}"


def advice(marks: Iterable[str], *, rate: float | None) -> str:
    """Return what to change if any of the marks is of a divergence, else an empty text.

    Args:
        rate: the job's learning rate, if it is known.
    """
    if not any(MARK.fullmatch(mark) or mark in SAID for mark in marks):
        return ""
    now = "" if rate is None else f" (it is {rate:g})"
    less = "LESS" if rate is None else f"{rate / 10:g}"
    return (
        f"training diverges: lower {SETTING}{now}, or set protocol.local.clip_norm; fedtailor run --resume RUN {SETTING}={less} "
        "continues from the last whole round"
    )


def _end(value: float) -> str:
    """Return what a value became that no loss may be."""
    return "NaN" if math.isnan(value) else "Infinite" if math.isinf(value) else "TooLarge"
