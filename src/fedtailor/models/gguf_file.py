"""The header of a GGUF file, walked within bounds before a library reads it: its counts and lengths may be anything in a damaged file."""

import math
import struct
from pathlib import Path
from typing import Any

from ..errors import BackboneError
from ..text_files import check_regular
from .files import AGAIN, Weights

MOST_ENTRIES, MOST_TENSORS, MOST_NAME, MOST_DEPTH, MOST_DIMENSIONS = 10_000, 1_000_000, 65_536, 4, 8
PLAIN = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


def read_gguf(path: Path) -> tuple[dict[str, Any], Weights]:
    """Return the plain values of a GGUF file's header (texts and numbers; of lists their length), and how much its weights hold.

    Raises:
        BackboneError: if it is no whole GGUF file.
    """
    check_is_gguf(path)
    try:
        return _Reader(path).header()
    except (OSError, ValueError, OverflowError, struct.error) as fault:
        raise BackboneError(f"{path} cannot be read as GGUF ({fault}); {AGAIN}") from fault


def check_is_gguf(path: Path) -> None:
    """Raise BackboneError unless a file is a regular one and begins as GGUF files do."""
    check_regular(path, "a GGUF file", error=BackboneError)
    with path.open("rb") as file:
        start = file.read(4)
    if start != b"GGUF":
        raise BackboneError(f"{path} is not a GGUF file: it starts with {start!r}, not b'GGUF'; was it downloaded whole?")


class _Reader:
    def __init__(self, path: Path) -> None:
        self._size = path.stat().st_size
        with path.open("rb") as file:
            self._data = file.read(min(self._size, 512 << 20))  # headers are far shorter
        self._at = 4

    def header(self) -> tuple[dict[str, Any], Weights]:
        version, tensors, entries = self._take("I"), self._take("Q"), self._take("Q")
        if version not in (2, 3):
            raise ValueError(f"version {version}, known are 2 and 3")
        if tensors > MOST_TENSORS or entries > MOST_ENTRIES:
            raise ValueError(f"{tensors} tensors and {entries} entries in the header")
        found = {}
        for _ in range(entries):
            key = self._text(MOST_NAME)
            found[key] = self._value(self._take("I"), 0)
        values, end = 0, 0
        for _ in range(tensors):
            count, last = self._tensor()
            values, end = values + count, max(end, last)
        if self._at + end > self._size:
            raise ValueError(f"it has {self._size:,} bytes, its tensors need at least {self._at + end:,}: it is incomplete")
        return found, Weights(tensors=tensors, values=values, packed=False)

    def _tensor(self) -> tuple[int, int]:
        """Return the numbers of one tensor, and where its data end."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        name, dimensions = self._text(MOST_NAME), self._take("I")
        if not 0 < dimensions <= MOST_DIMENSIONS:
            raise ValueError(f"tensor {name!r:.80} has {dimensions} dimensions")
        count = math.prod(self._take("Q") for _ in range(dimensions))
        kind, offset = self._take("I"), self._take("Q")
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        return count, offset + count // block * size

    def _value(self, kind: int, depth: int) -> Any:
        if kind in PLAIN:
            return self._take(PLAIN[kind])
        if kind == STRING:
            return self._text(self._size)
        if kind != ARRAY or depth > MOST_DEPTH:
            raise ValueError(f"a value of type {kind} at byte {self._at}")
        inner, count = self._take("I"), self._take("Q")
        if inner in PLAIN:
            self._skip(count * struct.calcsize(f"<{PLAIN[inner]}"))
        else:
            if count > self._size:
                raise ValueError(f"a list of {count} entries at byte {self._at}")
            for _ in range(count):
                self._value(inner, depth + 1)
        return count

    def _take(self, form: str) -> Any:
        begin = self._at
        self._skip(struct.calcsize(f"<{form}"))
        return struct.unpack_from(f"<{form}", self._data, begin)[0]

    def _text(self, most: int) -> str:
        length = self._take("Q")
        if length > most:
            raise ValueError(f"a text of {length} bytes at byte {self._at}")
        begin = self._at
        self._skip(length)
        return self._data[begin : begin + min(length, 200)].decode("utf-8", "replace")

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._data):
            raise ValueError(f"it ends at byte {self._size:,}, inside its header")
