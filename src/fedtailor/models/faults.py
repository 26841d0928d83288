"""What a failed load says: the key or the file that is at fault, its value, and what to do."""

import importlib.util
import json
import shutil
import tempfile
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..causes import UNKNOWN, cause_of, detail_of
from ..errors import BackboneError, FedtailorError
from .build import bounded_build, key_at_fault, shown
from .files import AGAIN, Weights, read_mapping
from .quiet import quiet_transformers

MOST_TRIED = 200  # keys of a file that are left out one by one


def is_ours(fault: BaseException) -> bool:
    """Return whether what was raised is to be passed on as it is: our own errors, and what stops the program."""
    return isinstance(fault, FedtailorError | KeyboardInterrupt | SystemExit | GeneratorExit)


def check_type(config: Mapping[str, Any], path: Path) -> None:
    """Check that a config.json is of a type that transformers knows, and names no code of its own to compute with.

    Raises:
        BackboneError: naming the key and its value.
    """
    from transformers import CONFIG_MAPPING

    kind = config.get("model_type")
    if kind is not None and (not isinstance(kind, str) or kind not in CONFIG_MAPPING):
        near = get_close_matches(str(kind), list(CONFIG_MAPPING.keys()), n=1)
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else "name a model of another type, such as llama or bert, or update transformers"
        )
        own = "; its own code (auto_map) is never run" if "auto_map" in config else ""
        raise BackboneError(f"{path}: model_type is {shown(kind)}, which the installed transformers does not know{own}; {hint}")
    for key, value in _everywhere(config):
        if key.endswith("_implementation") and "/" in str(value):
            raise BackboneError(f"{path}: {key} is {shown(value)}: code from a hub is never run; remove that line")


def config_fault(
    fault: BaseException, folder: Path, config: Mapping[str, Any], weights: Weights, *, kind: str, auto: str
) -> BackboneError:
    """Return what a load that failed says: the key of config.json without which a model can be built, else the cause."""
    path = folder / "config.json"

    def builds(changed: Mapping[str, Any]) -> bool:
        import torch
        import transformers

        try:
            with quiet_transformers(), bounded_build(changed, path, weights), torch.device("meta"):
                settings = {key: value for key, value in changed.items() if key != "model_type"}
                built = transformers.AutoConfig.for_model(str(changed["model_type"]), **settings)
                getattr(transformers, auto).from_config(built, trust_remote_code=False)
        except BaseException as again:
            if isinstance(again, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            return False
        return True

    cause = cause_of(fault, f"backbone folder {folder} could not be loaded as a {kind}")
    if (
        cause.name in (UNKNOWN, "number", "nesting", "import", "damaged", "code")
        and len(config) <= MOST_TRIED
        and not builds(config)
    ):
        key = key_at_fault(config, builds)
        if key is not None:
            return BackboneError(
                f"{path}: {key} is {shown(config[key])}, with which no {config.get('model_type')} can be built ({detail_of(fault)}); correct it, or {AGAIN}"
            )
    if cause.name != UNKNOWN:
        return BackboneError(f"{cause.sentence}; {cause.advice}, or {AGAIN}")
    return BackboneError(
        f"backbone folder {folder} could not be loaded as a {kind} ({detail_of(fault)}); are its config.json and its weights whole, and of one model? "
        f"Else {AGAIN}"
    )


def tokenizer_fault(fault: BaseException, folder: Path) -> BackboneError:
    """Return what a tokenizer that could not be loaded says: which of its files, and which key, is at fault."""
    file = folder / "tokenizer.json"
    if file.is_file() and (said := _refused_by_tokenizers(file)) is not None:
        return BackboneError(f"{file} cannot be read as a tokenizer ({said}); {AGAIN}")
    model = next(iter(sorted(folder.glob("*.model"))), None)
    if model is not None and not file.is_file() and (said := _refused_as_pieces(model)) is not None:
        return BackboneError(said)
    path = folder / "tokenizer_config.json"
    settings = read_mapping(path) if path.is_file() else {}
    for key in list(settings)[:MOST_TRIED]:
        if _loads_without(folder, settings, key):
            return BackboneError(
                f"{path}: {key} is {shown(settings[key])}, with which no tokenizer can be loaded ({detail_of(fault)}); correct it, or {AGAIN}"
            )
    cause = cause_of(fault, f"backbone folder {folder} has no tokenizer that can be loaded")
    advice = "it needs tokenizer.json and tokenizer_config.json" if cause.name == UNKNOWN else cause.advice
    said = (
        cause.sentence
        if cause.name != UNKNOWN
        else f"backbone folder {folder} has no tokenizer that can be loaded ({detail_of(fault)})"
    )
    return BackboneError(f"{said}; {advice}, or {AGAIN}")


def _refused_by_tokenizers(file: Path) -> str | None:
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_file(str(file))
    except BaseException as fault:
        if is_ours(fault):
            raise
        return detail_of(fault)
    return None


def _refused_as_pieces(file: Path) -> str | None:
    """Return what hinders the reading of a tokenizer that is a sentencepiece model alone; None if nothing does."""
    if importlib.util.find_spec("sentencepiece") is None:
        return (
            f"{file.parent} has its tokenizer as {file.name} alone, and no tokenizer.json; reading that needs sentencepiece, which is not "
            "installed: pip install sentencepiece, or take a folder of the model that has a tokenizer.json"
        )
    try:
        importlib.import_module("sentencepiece").SentencePieceProcessor(model_proto=file.read_bytes())
    except BaseException as fault:
        if is_ours(fault):
            raise
        return f"{file} cannot be read as a sentencepiece model ({detail_of(fault)}); {AGAIN}"
    return None


def _loads_without(folder: Path, settings: Mapping[str, Any], key: str) -> bool:
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as fresh:
        for path in folder.iterdir():
            if path.suffix in {".json", ".txt", ".model"} and path.name != "tokenizer_config.json" and path.is_file():
                shutil.copyfile(path, Path(fresh) / path.name)
        rest = {name: value for name, value in settings.items() if name != key}
        (Path(fresh) / "tokenizer_config.json").write_text(json.dumps(rest), encoding="utf-8")
        try:
            with quiet_transformers():
                AutoTokenizer.from_pretrained(fresh, local_files_only=True, use_fast=True, trust_remote_code=False)
        except BaseException as fault:
            if is_ours(fault):
                raise
            return False
    return True


def _everywhere(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return all keys and values of a mapping and of those inside it."""
    found = []
    for key, value in content.items():
        found.append((key, value))
        if isinstance(value, Mapping):
            found += _everywhere(value)
    return found
