"""The index of one client: a folder with the passages, their vectors and their words, opened at once by memory-mapping.

    current.json    which version answers; replaced in one step
    v000001/        one version, whole: passages.arrow, keys.npy, vectors.npy, words and postings, files.json, meta.json

Nothing in it is a pickle. Vectors are float32: numpy has no fast product of float16.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, SettingError
from ..text_files import read_json, read_text
from .passages import Chunks, Passage
from .terms import Terms, open_terms

FORMAT = 1
CURRENT, META, FILES, PASSAGES, KEYS, VECTORS = (
    "current.json",
    "meta.json",
    "files.json",
    "passages.arrow",
    "keys.npy",
    "vectors.npy",
)
MOST_LIST = 2**30  # bytes of the list of files
TRIES = 5  # to open an index that is replaced meanwhile


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What an index was made with."""

    format: int
    version: str
    embedder: str
    embedder_sha256: str
    width: int
    tokens: int  # of a passage
    overlap: int
    passages: int
    documents: int
    sizes: Mapping[str, int]  # bytes of each file


@dataclass(frozen=True, kw_only=True)
class Index:
    """One version of a client's index; it stays readable while a newer one takes its place."""

    client: str
    meta: Meta
    passages: Any  # pyarrow table, a row a passage
    keys: np.ndarray  # uint8 [N, 32]: SHA-256 of each passage's text; twins share it
    vectors: np.ndarray  # float32 [N, width], of length 1
    terms: Terms
    files: Mapping[str, Mapping[str, Any]]  # name -> sha256, notes

    @property
    def size(self) -> int:
        """The number of passages."""
        return self.meta.passages

    def rows(self, numbers: Sequence[int]) -> list[Passage]:
        """Return passages by their numbers."""
        return [Passage(**row) for row in self.passages.take(np.asarray(numbers, dtype=np.int64)).to_pylist()]


def key_of(text: str) -> bytes:
    """Return what texts share that differ in white space alone: the SHA-256 of the words in one line."""
    return hashlib.sha256(plain(text).encode("utf-8", "surrogatepass")).digest()


def plain(text: str) -> str:
    """Return a text in one line, as it is embedded."""
    return " ".join(text.split())


def is_index(folder: Path) -> bool:
    """Return whether a folder holds an index."""
    return (folder / CURRENT).is_file()


def open_index(folder: Path, client: str = "") -> Index:
    """Return the version of an index that answers now.

    Args:
        client: whose it is; the folder's name if left out.

    Raises:
        DataError: if there is none, or it is damaged, or of a format of another version of fedtailor.
    """
    for _ in range(TRIES):
        version = current_version(folder)
        try:
            return _open(folder / version, client or folder.name)
        except FileNotFoundError as fault:
            missing = fault
            if current_version(folder) == version:
                break
    raise DataError(f"the index {folder} is damaged: {missing.filename} is missing; remove the folder and index again")


def current_version(folder: Path) -> str:
    """Return the name of the version that answers.

    Raises:
        DataError: if the folder is no index that can be read.
    """
    content = read_json(
        read_text(folder / CURRENT, "an index", error=DataError, tip="fedtailor rag index makes one"),
        str(folder / CURRENT),
        error=DataError,
    )
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else content
        raise DataError(
            f"the index {folder} has format {found!r}, and this fedtailor reads {FORMAT}; remove the folder and index again"
        )
    version = content.get("version")
    if not isinstance(version, str) or not version.startswith("v") or not version[1:].isdecimal():
        raise DataError(f"the index {folder} names {version!r} as its version, which is none; remove the folder and index again")
    return version


def _open(place: Path, client: str) -> Index:
    import pyarrow as pa

    try:
        content = json.loads((place / META).read_text(encoding="utf-8"))
        meta = Meta(**content)
        for name, size in meta.sizes.items():
            if (found := (place / name).stat().st_size) != size:
                raise DataError(f"{place / name} has {found:,} bytes, and {size:,} were written")
        table = pa.ipc.open_file(pa.memory_map(str(place / PASSAGES))).read_all()
        keys = np.load(place / KEYS, mmap_mode="r", allow_pickle=False)
        vectors = np.load(place / VECTORS, mmap_mode="r", allow_pickle=False)
        terms = open_terms(place, meta.passages)
        files = json.loads(read_text(place / FILES, "an index", most_bytes=MOST_LIST, error=DataError))
    except FileNotFoundError:
        raise
    except (DataError, ValueError, TypeError, AttributeError, OSError, EOFError, pa.ArrowException) as fault:
        raise DataError(f"the index {place.parent} is damaged: {fault}; remove the folder and index again") from None
    shapes = (table.num_rows, keys.shape, vectors.shape, vectors.dtype)
    if shapes != (meta.passages, (meta.passages, 32), (meta.passages, meta.width), np.float32):
        raise DataError(
            f"the index {place.parent} is damaged: its parts do not fit each other; remove the folder and index again"
        )
    return Index(client=client, meta=meta, passages=table, keys=keys, vectors=vectors, terms=terms, files=files)


def check_fits(meta: Meta, where: Path | str, embedder: Any, chunks: Chunks | None = None) -> None:
    """Raise SettingError unless an index was made by this embedder, and with these chunks if given."""
    if meta.embedder_sha256 != embedder.sha256:
        raise SettingError(
            f"the index {where} was made by {meta.embedder} ({meta.embedder_sha256[:12]}), and this is {embedder.name} ({embedder.sha256[:12]}): their vectors "
            "do not compare; index into another folder"
        )
    made = Chunks(tokens=meta.tokens, overlap=meta.overlap)
    if chunks is not None and made != chunks:
        raise SettingError(
            f"the index {where} was cut by {asdict(made)}, and {asdict(chunks)} is asked for; index into another folder"
        )
