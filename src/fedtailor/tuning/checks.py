"""Checks that the settings of several tunings share. Each raises SettingError, whose text starts with the setting's name."""

from collections.abc import Sequence

from ..errors import SettingError


def check_count(name: str, value: object, hint: str) -> None:
    """Raise SettingError unless `value` is a whole number from 1; `hint` says which values are usual."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SettingError(f"{name} is a whole number from 1, got {value!r}; {hint}")


def check_share(name: str, value: object) -> None:
    """Raise SettingError unless `value` is a number from 0 to below 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise SettingError(f"{name} is a share from 0 to below 1, got {value!r}")


def check_choice(name: str, value: object, known: Sequence[object]) -> None:
    """Raise SettingError unless `value` is among `known`."""
    if isinstance(value, bool) or value not in known:
        raise SettingError(f"{name} is one of {', '.join(map(str, known))}; got {value!r}")
