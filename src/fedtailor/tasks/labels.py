"""The names of classes: found in the data or read from a file, and the numbers that they stand for."""

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path

from ..errors import DataError, SettingError
from ..printable import look_alike
from ..records import Example, Numeral
from ..text_files import read_json, read_text


def class_numbers(examples: Sequence[Example], labels: Sequence[str]) -> list[int]:
    """Return the number of each example's class.

    A label is the text of a listed name. A whole number that is no name, of a source with types, is the place in the list, from 0, where no
    name is a number; a text never is, whatever its digits.

    Raises:
        DataError: if labels are not known, with their number, the first five, and what was expected.
    """
    places = {name: number for number, name in enumerate(labels)}
    counted = not any(map(is_whole, labels))
    found: list[int] = []
    strange: list[Example] = []
    for example in examples:
        text = label_text(example.fields.get("label"))
        if text is not None and text in places:
            found.append(places[text])
        elif counted and isinstance(text, Numeral) and 0 <= int(text) < len(labels):
            found.append(int(text))
        else:
            strange.append(example)
    if strange:
        raise DataError(_unknown_labels(strange, len(examples), labels))
    return found


def _unknown_labels(strange: Sequence[Example], of: int, labels: Sequence[str]) -> str:
    some = ", ".join(
        f"example {e.id}{f' ({e.place})' if e.place else ''} has the label {_shown(e.fields.get('label'))}" for e in strange[:5]
    )
    known = ", ".join(list(labels)[:5]) + (", ..." if len(labels) > 5 else "")
    return (
        f"{len(strange):,} of {of:,} labels are not known: {some}{', ...' if len(strange) > 5 else ''}; the task knows {len(labels)} labels, "
        f"numbered 0 to {len(labels) - 1}: {known}. A label is the text of a name, letter by letter; where the data have numbers for these names, "
        "they must be whole numbers of a file with types (Parquet, JSON). Correct the data, or name all labels in task.labels: where it is left out, "
        "they are those of the training and validation data, never of the test set"
    )


def label_text(label: object) -> str | None:
    """Return a label as text, and a Numeral if it is a whole number; None if it is no label."""
    if isinstance(label, bool):
        return None
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, Integral):
        return Numeral(int(label))
    return label if isinstance(label, str) and label else None


def _shown(label: object) -> str:
    text = repr(label)
    return text if len(text) <= 60 else text[:57] + "..."


def found_labels(examples: Sequence[Example]) -> tuple[str, ...]:
    """Return the labels that occur: numbers in their order, else names in the order of the alphabet.

    Raises:
        DataError: if a label is missing or no label, if two look alike, or there are fewer than two.
    """
    seen: set[str] = set()
    for example in examples:
        text = label_text(example.fields.get("label"))
        if text is None:
            raise DataError(
                f"example {example.id} has the label {example.fields.get('label')!r}; a label is a name or a whole number. Correct the data or data.columns"
            )
        seen.add(str(text))
    if len(seen) < 2:
        raise DataError(
            f"the data have {len(seen)} distinct label{'' if len(seen) == 1 else 's'}, a classification needs two; is data.columns.label the right column?"
        )
    if (alike := look_alike(seen)) is not None:
        raise DataError(
            f"the labels {alike[0]!a} and {alike[1]!a} look alike: they differ by white space, by signs that nobody sees, or by how an accent "
            "is written, alone; make them one in the data, or list both in task.labels"
        )
    return tuple(sorted(sorted(seen), key=int)) if all(map(is_whole, seen)) else tuple(sorted(seen))


def is_whole(name: str) -> bool:
    """Return whether a label is a whole number, written out; ² is a digit, but no number."""
    return name.removeprefix("-").isdecimal()


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the names in a JSON list, or in a text file with one a line; a whole number in the list is the name of these digits, as in data.

    Raises:
        SettingError: if the file cannot be read or does not hold at least two distinct names.
    """
    want = "task.labels names a file that holds a JSON list of names, or one name a line"
    text = read_text(path, "the file of task.labels", tip="it holds a JSON list of names, or one name a line")
    names = read_json(text, str(path)) if path.suffix == ".json" else text.split("\n")
    texts = [name if isinstance(name, str) else label_text(name) for name in names] if isinstance(names, list) else [None]
    if None in texts:
        raise SettingError(f"{want}; {path} holds something else")
    found = tuple(str(text).strip() for text in texts if text and text.strip())
    if len(found) < 2 or len(set(found)) < len(found):
        raise SettingError(f"{want}, at least two and all distinct; {path} has {len(found)} ({len(set(found))} distinct)")
    return found
