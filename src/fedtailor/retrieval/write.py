"""Writes one version of an index beside the one that answers, and lets it take that one's place."""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..storage import put_in_place, sync_file, sync_folder
from .embedder import Embedder
from .index import CURRENT, FILES, FORMAT, KEYS, META, PASSAGES, VECTORS, Index, Meta, key_of, plain
from .passages import Chunks, Passage
from .terms import count_terms, save_terms, update_terms
from .work import Work

BLOCK = 256  # passages that are embedded between two looks at the progress
FRESH, WORK = ".new", "work"
Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much


@dataclass(frozen=True, kw_only=True)
class Change:
    """What the next version holds."""

    old: Index | None
    kept: Sequence[int]  # rows of the old version that stay
    passages: Sequence[Passage]  # that are added
    entries: Mapping[str, Mapping[str, Any]]  # what is noted of each file
    embedder: Embedder
    chunks: Chunks

    @property
    def size(self) -> int:
        """The number of passages."""
        return len(self.kept) + len(self.passages)


def write_version(folder: Path, change: Change, progress: Progress) -> int:
    """Write the next version, let it answer, and return how many passages were embedded."""
    fresh, old = folder / FRESH, change.old
    fresh.mkdir()
    with Work(folder / WORK, change.embedder.sha256, change.embedder.width) as work:
        embedded = _write_vectors(fresh, change, work, progress)
    _write_passages(fresh, change)
    texts = (passage.text for passage in change.passages)
    save_terms(update_terms(old.terms, change.kept, texts) if old else count_terms(texts), fresh)
    (fresh / FILES).write_text(json.dumps(change.entries), encoding="utf-8")
    version = f"v{int(old.meta.version[1:]) + 1 if old else 1:06d}"
    _write_meta(fresh, change, version)
    for path in fresh.iterdir():
        sync_file(path)
    sync_folder(fresh)
    os.rename(fresh, folder / version)
    sync_folder(folder)
    pointer = folder / f"{CURRENT}.new"
    pointer.write_text(json.dumps({"format": FORMAT, "version": version}), encoding="utf-8")
    put_in_place(pointer, folder / CURRENT)  # from here on the new version answers
    if old is not None:
        shutil.rmtree(folder / old.meta.version)
    return embedded


def _write_meta(fresh: Path, change: Change, version: str) -> None:
    meta = Meta(
        format=FORMAT,
        version=version,
        embedder=change.embedder.name,
        embedder_sha256=change.embedder.sha256,
        width=change.embedder.width,
        tokens=change.chunks.tokens,
        overlap=change.chunks.overlap,
        passages=change.size,
        documents=sum(entry["documents"] for entry in change.entries.values()),
        sizes={path.name: path.stat().st_size for path in sorted(fresh.iterdir())},
    )
    (fresh / META).write_text(json.dumps(asdict(meta), indent=2), encoding="utf-8")


def _write_vectors(fresh: Path, change: Change, work: Work, progress: Progress) -> int:
    """Write the keys and vectors of all passages, and return how many had to be computed."""
    old, kept, width = change.old, list(change.kept), change.embedder.width
    added = [key_of(passage.text) for passage in change.passages]
    known = work.known()
    if old is not None:
        wanted = set(added)
        known |= {key: old.vectors[row] for row, key in enumerate(map(bytes, old.keys)) if key in wanted}
    missing = {key: passage.text for key, passage in zip(added, change.passages, strict=True) if key not in known}
    known |= _embedded(missing, change.embedder, work, progress)
    vectors = (
        np.lib.format.open_memmap(fresh / VECTORS, mode="w+", dtype=np.float32, shape=(change.size, width))
        if change.size
        else None
    )
    if vectors is None:  # an empty file cannot be mapped to be written
        np.save(fresh / VECTORS, np.zeros((0, width), dtype=np.float32), allow_pickle=False)
        np.save(fresh / KEYS, np.zeros((0, 32), dtype=np.uint8), allow_pickle=False)
        return 0
    keys = np.zeros((change.size, 32), dtype=np.uint8)
    if old is not None:
        vectors[: len(kept)], keys[: len(kept)] = old.vectors[kept], old.keys[kept]
    for row, key in enumerate(added, start=len(kept)):
        vectors[row], keys[row] = known[key], np.frombuffer(key, dtype=np.uint8)
    vectors.flush()
    np.save(fresh / KEYS, keys, allow_pickle=False)
    return len(missing)


def _embedded(missing: Mapping[bytes, str], embedder: Embedder, work: Work, progress: Progress) -> dict[bytes, np.ndarray]:
    found: dict[bytes, np.ndarray] = {}
    order = sorted(missing, key=lambda key: -len(missing[key]))  # texts of like length together: less padding
    for begin in range(0, len(order), BLOCK):
        progress("passages embedded", begin, len(order))
        block = order[begin : begin + BLOCK]
        vectors = embedder.embed([plain(missing[key]) for key in block])
        work.keep(block, vectors)
        found |= dict(zip(block, vectors, strict=True))
    progress("passages embedded", len(order), len(order))
    return found


def _write_passages(fresh: Path, change: Change) -> None:
    import pyarrow as pa

    text, whole = pa.string(), pa.int64()
    kinds = {
        "id": text,
        "file": text,
        "document": text,
        "title": text,
        "page": whole,
        "begin": whole,
        "end": whole,
        "text": pa.large_string(),
    }
    columns = {name: pa.array([getattr(passage, name) for passage in change.passages], kind) for name, kind in kinds.items()}
    table = pa.table(columns, schema=pa.schema(kinds))
    if change.old is not None:
        table = pa.concat_tables([change.old.passages.take(pa.array(change.kept, pa.int64())), table])
    with pa.OSFile(str(fresh / PASSAGES), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
