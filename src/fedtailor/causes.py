"""Why something outside of fedtailor failed: one list of causes, each with a sentence and what to try.

Whatever Python, the system or a library raises is looked up here, so that the same fault reads alike wherever it happens.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from .known_causes import RULES

LONGEST_DETAIL = 300  # characters of what the library said


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why it failed, where, and what to try."""

    name: str  # such as "memory"; UNKNOWN where the list has no cause that fits
    sentence: str  # where it happened and what was found there, with the fault's own text
    advice: str

    def __str__(self) -> str:
        return f"{self.sentence}; {self.advice}"


UNKNOWN = "unknown"


def cause_of(fault: BaseException, where: str) -> Cause:
    """Return the cause of an exception; those that it was raised from are looked at too, the outermost first.

    Args:
        where: what was being read, written or done, as the sentence begins: "backbone folder /models/a", "job.yaml, key data.train".
    """
    for raised in _chain(fault):
        for rule in RULES:
            if rule.fits(raised):
                return Cause(name=rule.name, sentence=f"{where}: {rule.what} ({detail_of(raised)})", advice=rule.advice)
    said = f"{where}: it failed in a way that is not on the list of known causes ({detail_of(fault)})"
    return Cause(name=UNKNOWN, sentence=said, advice="add --debug to see where")


def detail_of(fault: BaseException) -> str:
    """Return the kind of an exception and what it says, on one line without control characters and a full stop, cut after `LONGEST_DETAIL`."""
    try:
        said = str(fault)
    except Exception:  # an exception's own text may be what is broken
        said = ""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in said).split()).rstrip(
        "."
    )  # a sentence continues behind it
    short = line if len(line) <= LONGEST_DETAIL else f"{line[:LONGEST_DETAIL]} …"
    return f"{type(fault).__name__}: {short}" if short else type(fault).__name__


def _chain(fault: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    at: BaseException | None = fault
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
