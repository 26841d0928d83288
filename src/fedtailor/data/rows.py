"""Rows become examples: columns get the task's names, and every value that a task needs is checked."""

import ast
import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence

from ..errors import DataError, SettingError
from ..records import Example
from .read import Row

MESSAGES = "messages"
TEXTS = ("input", "target", "text")


def check_columns(columns: Mapping[str, str], names: Sequence[str]) -> None:
    """Raise SettingError if `columns` has a key that is none of the task's names.

    Raises:
        SettingError: naming the nearest right key.
    """
    for key in columns:
        if key not in (*names, MESSAGES):
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "the key is the task's name, the value the column of the file"
            raise SettingError(f"data.columns has the key {key!r}, but this task reads {', '.join(names)}; {hint}")


def to_examples(
    rows: Sequence[Row],
    ids: Sequence[str],
    *,
    where: str,
    columns: Mapping[str, str],
    required: Sequence[str],
    optional: Sequence[str],
) -> list[Example]:
    """Return an example per row: the task's fields by the task's names, and all other columns as they are.

    Args:
        rows: a mapping from column to value each.
        ids: names of the examples, as many as rows.
        where: the file or other origin, for errors.
        columns: the task's name -> column; a name left out is its own column.
        required: fields that every example must have. Texts must not be empty, unless a text is all that is required:
            then an empty one is a blank line.
        optional: fields that are taken where they are; an empty cell or an empty list is as if it were not there.

    Raises:
        DataError: naming the place, the row, the column and the remedy.
    """
    available = {column for row in rows for column in row}
    talks = _talks(available, columns, required)
    if not talks:
        for name in required:
            if columns.get(name, name) not in available:
                raise DataError(_missing_column(name, columns, available, where))
    examples = []
    for number, (row, id) in enumerate(zip(rows, ids, strict=True)):
        place = f"{where}, row {number} (the first is 0)"
        fields = dict(row)
        for column, cell in fields.items():
            _check_characters(column, f"{place}: the name of column {column!a}")
            _check_characters(cell, f"{place}: column {column!r}")
        if talks:
            fields.update(_from_messages(row.get(columns.get(MESSAGES, MESSAGES)), place))
        else:
            for name in required:
                column = columns.get(name, name)
                fields[name] = _value(name, column, row.get(column), place, blank=tuple(required) == ("text",))
        for name in optional:
            column = columns.get(name, name)
            value = _value(name, column, row[column], place, blank=True) if _is_given(row.get(column)) else None
            fields.pop(name, None)
            if _is_given(value):
                fields[name] = value
        examples.append(Example(id=id, fields=fields))
    if "label" in required:
        examples = _number_labels(examples)
    return examples


def _talks(available: set[str], columns: Mapping[str, str], required: Sequence[str]) -> bool:
    """Tell whether input and target are to be read from a column of conversations."""
    if set(required) != {"input", "target"} or columns.get(MESSAGES, MESSAGES) not in available:
        return False
    return MESSAGES in columns or not {columns.get(name, name) for name in required} <= available


def _missing_column(name: str, columns: Mapping[str, str], available: set[str], where: str) -> str:
    column = columns.get(name, name)
    near = difflib.get_close_matches(column, sorted(available), n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return (
        f"{where} has no column {column!r}, which the task needs as {name!r}; it has {', '.join(sorted(available)) or 'none'}; "
        f"{hint}say which column it is: data.columns: {{{name}: {near[0] if near else 'COLUMN'}}}"
    )


def _value(name: str, column: str, value: object, place: str, *, blank: bool) -> object:
    """Return the value as the task expects it, or raise DataError."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise DataError(
            f"{place}: column {column!r} holds no value ({'NaN' if value is not None else 'null'}), the task needs one as {name!r}; fill it in or delete the row"
        )
    if name in TEXTS:
        if not isinstance(value, str):
            raise DataError(
                f"{place}: column {column!r} holds {_shown(value)} of type {type(value).__name__}; {name} must be text: "
                "convert the column to text, or name another one in data.columns"
            )
        if not value.strip() and not blank:
            raise DataError(
                f"{place}: column {column!r} is empty, the task needs a text as {name!r}; fill it in or delete the row"
            )
    elif name == "label":
        return _label(column, value, place)
    elif name == "references":
        return _references(column, value, place)
    return value


def _is_given(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value)) and value not in ("", [], ())


def _check_characters(value: object, place: str) -> None:
    """Raise DataError if a text holds half of a surrogate pair, which no tokenizer and no file takes."""
    if isinstance(value, str) and not value.isascii():
        half = re.search("[\ud800-\udfff]", value)
        if half:
            raise DataError(
                f"{place} holds {half[0]!a} at character {half.start()}, half of a character, which is no text; the data were cut "
                "or converted wrongly: mend or delete the row"
            )
    elif isinstance(value, list | tuple):
        for one in value:
            _check_characters(one, place)
    elif isinstance(value, Mapping):
        for name, one in value.items():
            _check_characters(name, place)
            _check_characters(one, place)


def _label(column: str, value: object, place: str) -> int | str:
    if isinstance(value, float) and value.is_integer():
        return int(value)  # pandas makes floats of a column of integers with a gap
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int):
        return int(value)
    raise DataError(
        f"{place}: column {column!r} holds {_shown(value)}; a label is the number or the name of a class: mend it or delete the row"
    )


def _number_labels(examples: list[Example]) -> list[Example]:
    """Return the examples with whole numbers for labels if all labels are such, as text from a CSV file; else as they were."""
    labels = [example.fields["label"] for example in examples]
    if not all(isinstance(label, int) or (isinstance(label, str) and label.removeprefix("-").isdecimal()) for label in labels):
        return examples
    return [Example(id=e.id, fields={**e.fields, "label": int(str(label))}) for e, label in zip(examples, labels, strict=True)]


def _references(column: str, value: object, place: str) -> list[str]:
    if isinstance(value, str) and value.startswith("["):
        value = _written_list(value.strip(), column, place)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError(f"{place}: column {column!r} holds {_shown(value)}; references is a list of texts, none of them empty")
    return list(texts)


def _written_list(text: str, column: str, place: str) -> object:
    """Return the list that a CSV file holds as JSON, or as pandas writes Python's lists; any other text stays one text."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        if not re.fullmatch(r"\[\s*['\"].*['\"]\s*\]", text, re.DOTALL):
            return text
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if repr(found) == text:  # ['a' 'b'], as NumPy writes it, would be read as one text
        return found
    raise DataError(
        f"{place}: column {column!r} holds {_shown(text)}, a list in a form that cannot be read back; write references as a JSON list, "
        'such as ["one", "another"] (with pandas: table[column].map(json.dumps)), or save the table as Parquet or JSON Lines'
    )


def _from_messages(value: object, place: str) -> dict[str, object]:
    """Return input and target of a conversation: the last answer, and all that was said before it; a turn that calls a tool may say nothing."""
    said = value if isinstance(value, list) else []
    turns = [(m.get("role"), _spoken(m)) for m in said if isinstance(m, Mapping)]
    fits = len(turns) >= 2 and len(turns) == len(said) and turns[-1][0] == "assistant"
    if not fits or not all(isinstance(role, str) and text.strip() for role, text in turns):
        raise DataError(
            f"{place}: messages holds {_shown(value)}; expected a list of at least two {{role, content}}, none empty, the last one of role assistant"
        )
    *before, (_, answer) = turns
    asked = [text for _, text in before] if len(before) == 1 else [f"{role}: {text}" for role, text in before]
    return {"input": "\n".join(asked), "target": answer, MESSAGES: [dict(m) for m in said]}


def _spoken(turn: Mapping[str, object]) -> str:
    """Return what a turn says, and behind it the tools that it calls, as JSON; "" if it is no turn."""
    content, calls = turn.get("content"), turn.get("tool_calls")
    if content is not None and not isinstance(content, str):
        return ""
    called = [json.dumps(call, ensure_ascii=False, default=str) for call in calls] if isinstance(calls, list) else []
    return "\n".join([*([content] if content else []), *called])


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
