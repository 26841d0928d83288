"""Whether a model that was loaded is whole: every weight of its body from the files, in the form that config.json says, and finite."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import BackboneError
from .build import shown
from .files import AGAIN


def check_fits(model: nn.Module, report: Mapping[str, Any], folder: Path, settings: Mapping[str, Any], *, causal: bool) -> None:
    """Check that the files had every weight of a language model, or of a classifier's body; its head and pooler may be fresh.

    Args:
        report: as transformers returns it: names that were missing, and names with both shapes where these differ.
        settings: of config.json, in which the key is looked for that a wrong shape comes from.

    Raises:
        BackboneError: naming the first weight and what is wrong.
    """
    for name, in_file, wanted in sorted(report["mismatched_keys"]):
        if causal or _in_body(model, name):
            key = _key_of(settings, tuple(in_file), tuple(wanted))
            raise BackboneError(
                f"backbone folder {folder}: {name} has the shape {tuple(in_file)} in its file and {tuple(wanted)} by config.json{key}; they are not of one "
                f"model, so correct that, or {AGAIN}"
            )
    lacking = sorted(name for name in report["missing_keys"] if causal or _in_body(model, name))
    if lacking:
        kind = "a causal language model" if causal else "the model's body"
        raise BackboneError(
            f"backbone folder {folder} lacks {len(lacking)} weights of {kind} (first: {lacking[0]}), so its output would be random; "
            f"{'name a model that was trained to generate' if causal else AGAIN}"
        )


def check_numbers_of(model: nn.Module, folder: Path) -> None:
    """Check that no weight of a model is NaN or infinite; one pass over the weights, 0.03 s for 135 M of them.

    Raises:
        BackboneError: naming the first that is.
    """
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point() or bool(parameter.detach().sum().isfinite()):
            continue
        wrong = int((~parameter.detach().isfinite()).sum())  # a sum may also overflow
        if wrong:
            raise BackboneError(
                f"backbone folder {folder}: {wrong:,} of {parameter.numel():,} numbers of the weight {name} are NaN or infinite, so whatever it gives "
                f"would be too; {AGAIN}"
            )


def _in_body(model: Any, name: str) -> bool:
    """Return whether a weight belongs to a classifier's body, but for a pooler, which many folders lack."""
    first, *others = name.split(".")
    return first == model.base_model_prefix and "pooler" not in others and isinstance(getattr(model, first, None), nn.Module)


def _key_of(settings: Mapping[str, Any], in_file: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Return the key of config.json that has the size which differs, as a part of a sentence; empty if none has."""
    sizes = {size for size in wanted if size not in in_file}
    keys = [
        (key, value)
        for key, value in settings.items()
        if isinstance(value, int) and not isinstance(value, bool) and value in sizes
    ]
    return f", where {keys[0][0]} is {shown(keys[0][1])}" if keys else ""
