"""The cells of one column, held against what its field needs."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..pictures import NotAPicture, Picture, picture_of
from ..printable import unfit_character
from ..text_files import Twice
from .cells import Unreadable, written
from .columns import Wanted
from .faults import FILL, Faults
from .structured import LOST_LIST, NO_REFERENCES, conversation, references, why_no_conversation

LONGEST_NAME = 1000  # characters of a label: what is longer comes from another column
EMPTY = "is empty"
IMAGE = "image"  # the field whose values are pictures
AS_BYTES = "give pictures as files in a folder, one subfolder a label, or as bytes or arrays in Parquet or .npz; data.missing: drop leaves these rows out"
CHARACTERS = {True: "holds the character NUL", False: "holds half of a character, as the data were cut or converted wrongly"}


class Talk(dict[str, object]):
    """What was read from one conversation."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Holds the cells of one column against what its field needs."""

    field: str
    column: str
    wanted: Wanted
    optional: bool
    talk: bool  # it holds the conversations that input and target are read from

    @property
    def called(self) -> str:
        """What errors call the column."""
        return repr(self.column) if self.field == self.column else f"{self.column!r} (the task's {self.field})"

    @property
    def needed(self) -> bool:
        """Whether every row must have a value."""
        if self.optional or self.field in self.wanted.may_be_empty:
            return False
        return self.field in self.wanted.required or self.talk or self.column in self.wanted.filled

    def all(self, cells: Sequence[object], faults: Faults, lacking: dict[int, str]) -> list[object]:
        """Return the values of a field, and note rows that lack one or hold what does not fit."""
        if self.field == IMAGE and IMAGE in self.wanted.required:
            return [self._picture(row, value, faults, lacking) for row, value in enumerate(cells)]
        needed, empty = self.needed, None if self.optional else ""
        structured = self.talk or self.field == "references" or (self.field == "label" and "label" in self.wanted.required)
        values = list(cells) if structured else written(cells)
        for row, value in enumerate(values):
            if value is None or (needed and isinstance(value, str) and value.isspace()):
                values[row] = empty
                if needed and self.wanted.missing == "drop":
                    lacking.setdefault(row, self.called)
                elif needed:
                    faults.add(row, self.called, EMPTY, FILL)
            elif bad := unfit_character(value):
                faults.add(row, repr(self.column), CHARACTERS[bad == "\0"], "correct or delete these rows", f"{bad!a}")
            elif structured or not isinstance(value, str):
                values[row] = self._value(row, value, faults)
        return values

    def _picture(self, row: int, value: object, faults: Faults, lacking: dict[int, str]) -> Picture | None:
        """Return a picture, or note why a cell holds none."""
        try:
            return picture_of(value.value if isinstance(value, Unreadable) else value)
        except NotAPicture as fault:
            what = EMPTY if value is None else str(fault)
        if self.wanted.missing == "drop":
            lacking.setdefault(row, self.called)
        else:
            faults.add(row, self.called, what, AS_BYTES)
        return None

    def _value(self, row: int, value: object, faults: Faults) -> object:
        """Return what the task needs, made of a cell that is more than a text, or note that it does not fit."""
        if self.talk:
            return self._conversation(row, value, faults)
        if self.field == "references":
            return self._references(row, value, faults)
        if self.field == "label" and isinstance(value, str):
            if len(value) > LONGEST_NAME:
                advice = "see that it is the right column: data.columns: {label: COLUMN}"
                faults.add(row, self.called, "is too long for a label", advice, f"{len(value):,} characters")
            return value
        if self.field in self.wanted.required or self.column in self.wanted.named:
            what = "holds no label" if self.field == "label" else "holds no text"
            faults.add(row, self.called, what, "convert the column to text, or name another one in data.columns", _shown(value))
        return None if isinstance(value, Unreadable) else value

    def _conversation(self, row: int, value: object, faults: Faults) -> Talk:
        try:
            talk = conversation(value)
            if talk is None:
                faults.add(row, self.called, why_no_conversation(value), "correct or delete these rows", _shown(value))
        except Twice as fault:
            talk = None
            faults.add(
                row, self.called, "holds an object that has a key twice", "correct or delete these rows", f"{str(fault)!r} twice"
            )
        return Talk(talk or {})

    def _references(self, row: int, value: object, faults: Faults) -> list[str] | None:
        try:
            found = references(value)
        except ValueError:
            faults.add(row, self.called, "holds a list that cannot be read back", LOST_LIST, _shown(value))
            return None
        if found is None and value != []:
            faults.add(row, self.called, NO_REFERENCES, "correct these rows, or leave references out", _shown(value))
        return found


def _shown(value: object) -> str:
    text = value.what if isinstance(value, Unreadable) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
