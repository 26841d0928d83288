"""Building a model from its config.json within bounds: no more weights and modules than its files can fill.

The numbers of a damaged config would else have transformers make lists, modules and tensors until the memory is full.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules import module as hooks

from ..errors import BackboneError
from .files import Weights

MOST_INTEGER = 2**31 - 1
MOST_LABELS = 100_000  # a name is made for each
MOST_LAYERS = 10_000
MOST_POSITIONS = 1 << 25  # tokens; the longest known context has 10 million
SPARE_WEIGHTS = 10_000_000  # of heads that a folder lacks
SPARE_MODULES = 2_000
FREE = re.compile(r"theta|base|seed|version|timestamp|hash|length$|_id$|_ids$|tokens?$")  # numbers that count nothing
LAYERS = re.compile(r"layers?$|blocks?$|stages?$")
POSITIONS = re.compile(r"positions?(_embeddings)?$|n_ctx$|context_length$|seq_len(gth)?$")


def check_numbers(config: Mapping[str, Any], path: Path, weights: Weights) -> None:
    """Check the integers of a config.json before they are counted up to.

    Raises:
        BackboneError: naming the key and its value, if one is larger than any model's, or than the files can fill.
    """
    for key, value in _integers(config):
        name = key.rpartition(".")[2]
        most = None
        if name == "num_labels":
            most = MOST_LABELS
        elif LAYERS.search(name):
            most = max(MOST_LAYERS, weights.tensors)
        elif POSITIONS.search(name):
            most = MOST_POSITIONS
        elif not FREE.search(name):
            most = MOST_INTEGER
        if most is not None and abs(value) > most:
            raise BackboneError(
                f"{path}: {key} is {_number(value)}, which no model has (at most {most:,} here); correct it, or get the file again from where the "
                "backbone came"
            )


@contextmanager
def bounded_build(config: Mapping[str, Any], path: Path, weights: Weights, labels: int = 0) -> Iterator[None]:
    """Let modules be built inside the block as long as the files can fill them.

    Raises:
        BackboneError: naming the key of config.json that asks for more.
    """
    values = weights.values * (16 if weights.packed or "quantization_config" in config else 1)
    most = 4 * values + SPARE_WEIGHTS + labels * 65_536
    most_modules = 20 * weights.tensors + SPARE_MODULES
    made, modules = 0, 0

    def weigh(_: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal made
        if parameter is None:
            return
        made += parameter.numel()
        if made > most:
            key, value = _largest(config, tuple(parameter.shape))
            raise BackboneError(
                f"{path}: {key} is {value}, with which a weight ({name}) has the shape {tuple(parameter.shape)}; all files of the backbone hold "
                f"{weights.values:,} numbers. Correct it, or get the file again from where the backbone came"
            )

    def count(*_: object) -> None:
        nonlocal modules
        modules += 1
        if modules > most_modules:
            key, value = _largest(config, (), LAYERS)
            raise BackboneError(
                f"{path}: {key} is {value}, with which the model has more than {most_modules:,} parts; the files of the backbone hold "
                f"{weights.tensors:,} tensors. Correct it, or get the file again from where the backbone came"
            )

    handles = [
        hooks.register_module_parameter_registration_hook(weigh),
        hooks.register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def key_at_fault(config: Mapping[str, Any], builds: Callable[[Mapping[str, Any]], bool]) -> str | None:
    """Return the one key without which a model can be built from a config, if there is one; a failed load is looked into this way."""
    kept = {key: value for key, value in config.items() if value is not None}
    for key in kept:
        if key != "model_type" and builds({name: value for name, value in config.items() if name != key}):
            return key
    return None


def shown(value: object) -> str:
    """Return a value as an error shows it: on one line, and short."""
    said = _number(value) if isinstance(value, int) and not isinstance(value, bool) else repr(value)
    return said if len(said) <= 80 else f"{said[:80]}…"


def _number(value: int) -> str:
    return str(value) if abs(value) < 10**20 else f"a number of {value.bit_length() * 3 // 10} digits"


def _integers(content: object, key: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(content, bool):
        return
    if isinstance(content, int):
        yield key, content
    elif isinstance(content, Mapping):
        for name, value in content.items():
            if name not in ("id2label", "label2id"):
                yield from _integers(value, f"{key}.{name}" if key else str(name))


def _largest(config: Mapping[str, Any], shape: tuple[int, ...], among: re.Pattern[str] | None = None) -> tuple[str, str]:
    """Return the key and value of a config that a shape comes from most likely: the largest number that divides its largest size."""
    found = [(abs(value), key) for key, value in _integers(config) if among is None or among.search(key)]
    fits = [(value, key) for value, key in found if value > 1 and any(size % value == 0 for size in shape)]
    value, key = max(fits or found, default=(0, "some key"))
    return key, _number(value)
