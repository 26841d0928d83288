"""Vectors that were computed for an index that is not whole yet, so that a start after a kill continues."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

KEY = 32  # bytes of a passage's key


class Work:
    """A folder of two files that grow together: keys, and their vectors in float32."""

    def __init__(self, folder: Path, embedder_sha256: str, width: int) -> None:
        """Take the folder; what another embedder left there is removed."""
        self._width = width
        owner = folder / "embedder"
        if folder.is_dir() and not (owner.is_file() and owner.read_text(encoding="utf-8") == embedder_sha256):
            shutil.rmtree(folder)
        folder.mkdir(exist_ok=True)
        owner.write_text(embedder_sha256, encoding="utf-8")
        self._keys_path, self._vectors_path = folder / "keys", folder / "vectors"

    def __enter__(self) -> Self:
        """Open the files, and drop what a kill left of the last block."""
        self._keys, self._vectors = self._keys_path.open("ab"), self._vectors_path.open("ab")
        rows = min(self._keys_path.stat().st_size // KEY, self._vectors_path.stat().st_size // (4 * self._width))
        self._keys.truncate(rows * KEY)
        self._vectors.truncate(rows * 4 * self._width)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the files."""
        self._keys.close()
        self._vectors.close()

    def known(self) -> dict[bytes, np.ndarray]:
        """Return the vector of each key that is kept."""
        keys = self._keys_path.read_bytes()
        vectors = np.fromfile(self._vectors_path, dtype="<f4").reshape(-1, self._width)
        return {keys[row * KEY : (row + 1) * KEY]: vector for row, vector in enumerate(vectors)}

    def keep(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Add vectors; they are on disk before their keys are."""
        for file, content in ((self._vectors, vectors.astype("<f4").tobytes()), (self._keys, b"".join(keys))):
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
