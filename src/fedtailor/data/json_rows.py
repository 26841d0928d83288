"""Tables as JSON: a list of objects, or an object a line."""

import json
import re

from ..errors import DataError
from ..text_files import Twice, once_each
from .table import FROM_1, Row, Table, from_rows, numbered_from_1

ARRAY = re.compile(r"\s*\[\s*\{")
EXAMPLE = '{"input": ..., "target": ...}'


def json_lines(text: str, where: str) -> Table:
    """Return the table of a text with an object a line, or of a list of objects all the same; blank lines are no rows.

    Raises:
        DataError: if a line is no object; it names the line.
    """
    if ARRAY.match(text):
        return json_array(text, where)
    rows: list[Row] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line and not line.isspace():
            rows.append(_object(_parsed(line, f"{where}, line {number}"), f"{where}, line {number}"))
            lines.append(number)
    return from_rows(rows, where, lambda row: f"line {lines[row]}")


def json_array(text: str, where: str) -> Table:
    """Return the table of a text that is a list of objects, or has an object a line all the same.

    Raises:
        DataError: if it is something else.
    """
    if text.lstrip().startswith("{") and "\n{" in text.strip():
        return json_lines(text, where)
    whole = _parsed(text, where)
    if not isinstance(whole, list):
        raise DataError(f"{where} holds one {_kind(whole)}; expected a list of objects, [{EXAMPLE}, ...], or one object a line")
    rows = [_object(row, f"{where}, row {number}") for number, row in enumerate(whole, start=1)]
    return from_rows(rows, where, numbered_from_1, counting=FROM_1)


def _parsed(text: str, where: str) -> object:
    try:
        try:
            return json.loads(text, object_pairs_hook=once_each)
        except (json.JSONDecodeError, Twice):
            raise
        except ValueError:  # a whole number of more digits than Python reads; nobody may need it
            return json.loads(text, object_pairs_hook=once_each, parse_int=_digits)
    except Twice as error:
        raise DataError(
            f"{where} has an object with the key {str(error)!r} twice; rename one of them, so that each name comes once"
        ) from None
    except RecursionError as error:
        raise DataError(f"{where} is nested too deep to be read; expected an object with named fields in each row") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, " if error.lineno > 1 else ""
        advice = "take off the comma behind it" if text.rstrip().endswith("},") else "is the file incomplete?"
        raise DataError(
            f"{where} is not valid JSON ({error.msg} at {place}character {error.colno}); expected an object such as {EXAMPLE}: {advice}"
        ) from error


def _digits(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _object(value: object, where: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{where} holds a {_kind(value)}; expected an object with named fields, such as {EXAMPLE}")
    return value


def _kind(value: object) -> str:
    return {dict: "object", list: "list", str: "text", bool: "truth value", type(None): "null"}.get(type(value), "number")
