"""The file of a collection: its clients, where their documents are, and the embedders of those that have one of their own."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..storage import put_in_place, writing
from ..text_files import read_json, read_text
from .embedder import Embedder, embedder_of

FILE, FORMAT = "collection.json", 1
NAME = re.compile(r"[\w][\w .-]{0,99}")


def embedders_of(backbones: Mapping[str, str]) -> dict[str, Embedder]:
    """Return the embedders of the clients that have one of their own, each loaded once."""
    if not backbones:
        return {}
    from ..models import choose_device, load_backbone

    def load(name: str) -> Embedder:
        found = load_backbone(name, kind="embedder", device=choose_device("auto"), base=Path(), seed=0, trust_times=True)
        return embedder_of(found.model, found.processor)

    loaded = {name: load(name) for name in sorted(set(backbones.values()))}
    return {client: loaded[name] for client, name in backbones.items()}


def backbones_of(place: Path) -> dict[str, str]:
    """Return the embedders of the clients that have one of their own, by name or folder.

    Raises:
        DataError: if the file names none that can be read.
    """
    found = _content_of(place).get("backbones", {})
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise DataError(f"{place / FILE} names no embedders that can be read; remove the folder {place} and index again")
    return found


def _content_of(place: Path) -> dict[str, Any]:
    tip = "fedtailor rag index FOLDER… --out NAME makes one"
    file = place / FILE
    content = read_json(read_text(file, "a collection", error=DataError, tip=tip), str(file), error=DataError)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{file} is no list of clients of format {FORMAT}; remove the folder {place} and index again")
    return content


def clients_of(place: Path) -> Mapping[str, Path]:
    """Return where the documents of each client are.

    Raises:
        DataError: if the file has none that can be read.
    """
    clients = _content_of(place).get("clients")
    if not isinstance(clients, dict) or not all(
        NAME.fullmatch(str(name)) and isinstance(path, str) for name, path in clients.items()
    ):
        raise DataError(f"{place / FILE} has no clients that can be read; remove the folder {place} and index again")
    return {name: Path(path) for name, path in clients.items()}


def save_collection(place: Path, clients: Mapping[str, Path], backbones: Mapping[str, str] | None = None) -> None:
    """Write down which clients a collection has, where their documents are, and the embedders of those that have one of their own."""
    content: dict[str, object] = {
        "format": FORMAT,
        "clients": {name: str(path.resolve()) for name, path in sorted(clients.items())},
    }
    if own := {name: one for name, one in sorted((backbones or {}).items()) if name in clients}:
        content["backbones"] = own
    with writing(place):
        fresh = place / f"{FILE}.new"
        fresh.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
        put_in_place(fresh, place / FILE)
