"""Which of the exchanged tensors stay home."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from ..errors import SettingError


def check_patterns(home: object) -> tuple[str, ...]:
    """Return the patterns of a setting `home` as a tuple, or raise SettingError unless they are texts."""
    named = (home,) if isinstance(home, str) else home
    if not isinstance(named, tuple | list) or not named or not all(isinstance(name, str) and name for name in named):
        raise SettingError(
            f"home is a list of names or patterns of weights that stay with each client, such as ['*score*']; got {home!r}"
        )
    return tuple(named)


def matching(patterns: Sequence[str], names: Sequence[str]) -> frozenset[str]:
    """Return the names that a pattern matches: the whole name with * and ? as in file names, or a part of it between dots.

    Raises:
        SettingError: if a pattern matches nothing, or nothing would be shared.
    """
    for pattern in patterns:
        if not any(_fits(pattern, name) for name in names):
            parts = sorted({part for name in names for part in name.split(".") if not part.isdigit()})
            raise SettingError(
                f"home: {pattern!r} matches none of the {len(names)} tensors that are exchanged; parts of their names are "
                f"{', '.join(parts)}; name one of these, or a pattern such as '*.{parts[-1]}'"
            )
    found = frozenset(name for name in names if any(_fits(pattern, name) for pattern in patterns))
    if len(found) == len(names):
        raise SettingError(
            f"home: {', '.join(patterns)} matches all {len(names)} tensors, so nothing would be shared; keep fewer home, "
            "or run the baseline local: each client alone"
        )
    return found


def _fits(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or pattern in name.split(".")
