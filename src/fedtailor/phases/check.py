"""Whether a class of the user's own is a phase."""

import re
from collections.abc import Iterable

from ..errors import SettingError

PARTS = ("section", "metrics", "reports", "calls", "handlers", "carry_out")
SECTION = re.compile(r"[a-z][a-z0-9_]{0,39}")


def check_phases(phases: Iterable[object]) -> None:
    """Raise SettingError unless each keeps the promise of a phase, under a section of its own."""
    taken: set[str] = set()
    for phase in phases:
        name = type(phase).__name__
        if lacking := [part for part in PARTS if not hasattr(phase, part)]:
            raise SettingError(
                f"after names {name}, which lacks {', '.join(lacking)}; a phase has {', '.join(PARTS)}, see docs/extending.md."
            )
        section = phase.section  # type: ignore[attr-defined]
        if not isinstance(section, str) or not SECTION.fullmatch(section):
            raise SettingError(
                f"after names {name}, whose section is {section!r}; it is a lower-case letter, then lower-case letters, digits and _, at most 40 in all."
            )
        if section in taken:
            raise SettingError(f"after has two phases with the section {section}; leave one out.")
        taken.add(section)
