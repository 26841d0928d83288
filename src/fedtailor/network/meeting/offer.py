"""A backbone on its way from the server to a site: its files with their hashes, and the one kind of message that carries them.

Weights go as safetensors; pickles, code and all else that a model folder may hold stay where they are.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import BackboneError, OffManifest
from ...messages import Call, FactSpec, Record, TensorSpec, manifest_of
from ...messages.record import fact, tensor
from ...models.cache import file_sha256
from ...models.locate import locate
from ...models.pins import pins
from ..kit.site_file import BACKBONE
from .meeting import HASHES, backbone_name

SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".jinja")  # weights, config, tokenizer, chat template
ADAPTER = "adapter_"  # such a file would have transformers put an adapter onto the weights, or load others in their place
FILE_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,150}")
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_FILES = 1000
PIECE_BYTES = 3 << 20  # below 4 MB the engine carries a message as one blob, which is the fastest
PIECE = "piece"  # the kind of message, and the named size of its tensor


@dataclass(frozen=True, kw_only=True)
class Piece(Record, kind=PIECE):
    """Bytes of one file."""

    file: str = fact(FactSpec(type="str", purpose="which file of the backbone", most_characters=160))
    offset: int = fact(FactSpec(type="int", purpose="bytes of the file that come before these"))
    data: Tensor | None = tensor("bytes")


@dataclass(frozen=True, kw_only=True)
class Taken(Record, kind=PIECE):
    """What the site has of them."""

    there: int = fact(FactSpec(type="int", purpose="bytes of the file that the site has now"))
    whole: int = fact(FactSpec(type="int", purpose="1 once every file is there and all hashes fit"))


CALL = Call(
    question=Piece,
    answers=(Taken,),
    forms={"data": {"bytes": TensorSpec(dtype="uint8", shape=(PIECE,))}},
    sizes={PIECE: PIECE_BYTES},
)
MANIFEST = manifest_of([CALL])


def _is_of_the_model(name: str) -> bool:
    return name.endswith(".safetensors") or name.startswith(ADAPTER)


def is_sent(name: str) -> bool:
    """Return whether a file of this name is one of a backbone: no hidden one, no code, no pickle and no part of an adapter."""
    return name.endswith(SUFFIXES) and not name.startswith(ADAPTER) and FILE_NAME.fullmatch(name) is not None


@dataclass(frozen=True, kw_only=True)
class OfferedFile:
    """One file of a backbone."""

    name: str
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if not is_sent(self.name):
            raise OffManifest(f"{self.name!r} is no file of a backbone; sent are {', '.join(SUFFIXES)}")
        if not isinstance(self.size_bytes, int) or self.size_bytes < 0 or not SHA256.fullmatch(self.sha256):
            raise OffManifest(f"{self.name} is announced with {self.size_bytes!r} bytes and SHA-256 {self.sha256!r}")


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What the server says of a backbone before it sends it."""

    backbone: str  # the name that jobs know it by
    files: tuple[OfferedFile, ...]
    pins: Mapping[str, str]  # SHA-256 of weights, tokenizer and chat_template, as jobs compare them

    def __post_init__(self) -> None:
        names = [file.name for file in self.files]
        if len(set(names)) < len(names) or len(names) > MOST_FILES:
            raise OffManifest(f"a backbone has at most {MOST_FILES} files, each once; announced were {len(names)}")
        if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
            raise OffManifest("a backbone has a config.json and weights in safetensors")

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def plain(self) -> dict[str, Any]:
        """Return the offer as plain values."""
        return {**asdict(self), "files": [asdict(file) for file in self.files], "pins": dict(self.pins)}


def read_offer(plain: Mapping[str, Any]) -> Offer:
    """Return the offer that another machine announced.

    Raises:
        OffManifest: if it is none, or names a file that no backbone has.
    """
    try:
        files = tuple(OfferedFile(**file) for file in plain["files"])
        return Offer(backbone=str(plain["backbone"]), files=files, pins={part: str(plain["pins"][part]) for part in HASHES})
    except (KeyError, TypeError, AttributeError) as fault:
        raise OffManifest(f"this is no offer of a backbone ({type(fault).__name__}: {fault})") from None


def make_offer(name: str, backbones: Mapping[str, str], base: Path) -> tuple[Offer, Path]:
    """Return what the server offers of a backbone, and the folder that it reads it from; files are hashed, once.

    Args:
        name: as a job would name it.
        backbones: other names of folders at the server, from its own file.
        base: folder that relative paths start from.

    Raises:
        BackboneError: if the server does not have it, has more of it than may be sent, or its name cannot be one of a folder at a site.
    """
    sent_as = backbone_name(backbones.get(name, name))
    if not BACKBONE.fullmatch(sent_as):
        raise BackboneError(
            f"{sent_as!r} is no name for a folder at a site; rename it at the server: letters, digits, and any of - _ . @"
        )
    try:
        place = locate(backbones.get(name, name), base)
    except BackboneError as fault:
        raise BackboneError(
            f"the server has no backbone {name!r} to send: {fault}. A path is one of the server's machine; names of folders can be given "
            'in local/server.json of the server\'s kit: {"backbones": {"NAME": "FOLDER"}}'
        ) from None
    unsent = sorted(path.name for path in place.folder.iterdir() if _is_of_the_model(path.name) and not is_sent(path.name))
    if unsent:  # hashes would never fit at a site
        raise BackboneError(
            f"the folder of backbone {name!r} at the server holds {unsent[0]}, which is loaded with it and is not sent; push a folder with the "
            "backbone alone"
        )
    files = sorted(path for path in place.folder.iterdir() if is_sent(path.name) and path.is_file())
    offered = tuple(OfferedFile(name=p.name, size_bytes=p.stat().st_size, sha256=file_sha256(p)) for p in files)
    found = pins(place)
    return Offer(backbone=sent_as, files=offered, pins={part: found[part] for part in HASHES}), place.folder
