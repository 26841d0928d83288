"""What pins a backbone: the SHA-256 of all files that change what it does, by their content."""

from collections.abc import Mapping
from pathlib import Path

from ..storage import text_sha256
from .cache import file_sha256
from .files import read_mapping
from .locate import Location

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "special_tokens_map.json")
SETTINGS = {"config": "config.json", "tokenizer_config": "tokenizer_config.json", "generation_config": "generation_config.json"}
OTHERS = (
    "*.model",
    "vocab*",
    "added_tokens.json",
    "adapter_config.json",
    "*.index.json",
    "tekken.json",
    "chat_template.json",
    "additional_chat_templates/*",
)
PINNED = ("weights", "tokenizer", "chat_template", *SETTINGS, "other_files")


def pins(place: Location, *, trust_times: bool = True) -> dict[str, str]:
    """Return the SHA-256 of each part of a backbone, and of the GGUF file that it came from if it did.

    A part of one file has its hash. Of several, the hash is that of their `name hash` lines in the order of names; a part without any file has
    that of the empty text. What was converted from a GGUF file is settled by that file, but for its weights and tokenizer.

    Args:
        trust_times: whether a file whose size, inode and times are as noted is taken to be as it was; else every byte is read.
    """
    folder = place.folder
    tokenizer = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    found = {
        "weights": _files_sha256(sorted(folder.glob("*.safetensors")), trust_times),
        "tokenizer": _files_sha256(tokenizer, trust_times),
        "chat_template": text_sha256(template_in(folder)),
    }
    if place.origin is not None:
        origin = file_sha256(place.origin, trust_times=trust_times)
        return found | dict.fromkeys((*SETTINGS, "other_files"), origin) | {"origin": origin}
    for part, name in SETTINGS.items():
        found[part] = _files_sha256([folder / name] if (folder / name).is_file() else [], trust_times)
    known = {*TOKENIZER_FILES, *SETTINGS.values()}
    others = {path for pattern in OTHERS for path in folder.glob(pattern) if path.is_file() and path.name not in known}
    found["other_files"] = _files_sha256(sorted(others), trust_times)
    return found


def template_in(folder: Path) -> str:
    """Return the chat template of a folder's files; empty if there is none."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    template = read_mapping(config).get("chat_template") if config.is_file() else None
    if isinstance(template, list):  # several, each with a name
        named = [entry for entry in template if isinstance(entry, Mapping)]
        template = next((entry.get("template") for entry in named if entry.get("name") == "default"), None)
    return template if isinstance(template, str) else ""


def _files_sha256(paths: list[Path], trust_times: bool) -> str:
    if len(paths) == 1:
        return file_sha256(paths[0], trust_times=trust_times)
    return text_sha256("".join(f"{path.name} {file_sha256(path, trust_times=trust_times)}\n" for path in paths))
