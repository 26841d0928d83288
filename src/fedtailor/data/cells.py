"""Cells: one text for one value, whatever form the table comes in.

A cell is a text, None where nothing stands, or a list or mapping as it is. Missing are an empty text, null and, among numbers, NaN;
`NA`, `None` and `nan` are texts. Numbers have their shortest form, whole ones without a point; dates are written as ISO 8601 has them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from uuid import UUID

import numpy as np

from ..records import Numeral

WHOLE_FLOATS = 1e21  # whole floats below are written out, larger ones with an exponent
WRITTEN_OUT = 400  # most digits of a decimal number that is written out
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # per second
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A cell that is no text and cannot become one."""

    what: str
    value: object = field(default=None, repr=False, compare=False)  # itself, for fields that are no text


def cell(value: object) -> object:  # noqa: PLR0911, a table of kinds
    """Return the cell of a value: str, None, list, dict, or Unreadable."""
    if isinstance(value, Unreadable):
        return value
    if value is None or isinstance(value, str):
        return str(value) if value else None
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas' own
        return None
    if isinstance(value, np.generic):
        return _numpy_cell(value)
    if isinstance(value, np.ndarray | list | tuple | Mapping):
        return nested(value)
    if isinstance(value, Enum):
        return cell(value.value)
    if isinstance(value, bytes | bytearray):
        return _bytes_cell(bytes(value))
    return _number(value) if isinstance(value, int | float | Decimal) else _other(value)


def nested(value: object) -> object:
    """Return what a cell holds inside: lists for arrays, Python's numbers for NumPy's, None for pandas' NA; texts as they are."""
    if isinstance(value, np.ndarray | np.generic):
        return nested(value.tolist())
    if isinstance(value, list | tuple):
        return [nested(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): nested(one) for name, one in value.items()}
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def moment(iso: str, *, zoned: bool) -> str:
    """Return a point in time, given as ISO 8601 has it and in UTC if `zoned`; at midnight of no zone it is a date."""
    day, _, hours = iso.replace("T", " ").partition(" ")
    hours = _short(hours) if hours else "00:00:00"
    if zoned:
        return f"{day} {hours}+00:00"
    return day if hours == "00:00:00" else f"{day} {hours}"


def clock(count: int, unit: str) -> str:
    """Return a time of day, given in s, ms, us or ns after midnight."""
    seconds, rest = divmod(count, UNITS[unit])
    digits = len(str(UNITS[unit])) - 1
    return _short(
        f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}" + (f".{rest:0{digits}d}" if digits else "")
    )


def duration(count: int, unit: str) -> str:
    """Return a length of time, given in s, ms, us or ns: `2 days 00:30:00`."""
    days, rest = divmod(count, DAY_S * UNITS[unit])
    return f"{days} days {clock(rest, unit)}"


def _short(hours: str) -> str:
    return hours.rstrip("0").rstrip(".") if "." in hours else hours


def _numpy_cell(value: np.generic) -> object:
    if np.isnat(value) if isinstance(value, np.datetime64 | np.timedelta64) else False:
        return None
    if isinstance(value, np.datetime64):
        unit = np.datetime_data(value.dtype)[0]
        return moment(str(value.astype("datetime64[s]") if unit in ("h", "m") else value), zoned=False)
    if isinstance(value, np.timedelta64):
        return duration(int(value.astype("timedelta64[ns]").astype(np.int64)), "ns")
    if isinstance(value, np.floating) and not isinstance(value, float):
        number = float(value)
        return _number(number) if not math.isfinite(number) or number.is_integer() else str(value)  # 0.1 of float32 is 0.1
    return cell(value.item()) if not isinstance(value, np.void) else Unreadable(f"a {type(value).__name__}")


def _number(value: int | float | Decimal) -> object:  # noqa: PLR0911, as above
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        try:
            return Numeral(int(value))
        except ValueError:  # Python writes no more than some thousand digits
            return Unreadable("a whole number of thousands of digits")
    if math.isnan(value):
        return None
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > WRITTEN_OUT:
            return str(value)
        return Numeral(int(value)) if value == value.to_integral_value() else f"{value:f}".rstrip("0")
    return Numeral(int(value)) if value.is_integer() and abs(value) < WHOLE_FLOATS else repr(float(value))


def _bytes_cell(value: bytes) -> object:
    try:
        return value.decode("utf-8") or None
    except UnicodeDecodeError:
        return Unreadable("bytes that are no UTF-8 text", value)


def _other(value: object) -> object:  # noqa: PLR0911, as above
    if isinstance(value, datetime):  # pandas' Timestamp too, with its nanoseconds
        if value.tzinfo is None:
            return moment(value.isoformat(), zoned=False)
        try:
            return moment(value.astimezone(UTC).isoformat().removesuffix("+00:00"), zoned=True)
        except OverflowError:  # at either end of Python's calendar
            return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return _short(value.isoformat())
    if isinstance(value, timedelta):
        nanoseconds = getattr(value, "nanoseconds", 0)  # of pandas' Timedelta
        return duration((value.days * DAY_S + value.seconds) * 10**9 + value.microseconds * 1000 + nanoseconds, "ns")
    if isinstance(value, UUID | PurePath) or type(value).__name__ in ("Period", "Interval"):
        return str(value)
    return Unreadable(f"a {type(value).__name__}", value)


def written(texts: Sequence[object]) -> list[object]:
    """Return cells as plain texts where they are texts; only labels need to know which were numbers."""
    return [str(one) if isinstance(one, Numeral) else one for one in texts]
