"""Loads a backbone: frozen, pinned by hashes, with its tokenizer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import BackboneError
from .cache import background
from .device import Precision, check_4bit, choose_device, choose_precision
from .kinds import Loaded, kind_of
from .locate import Location, locate
from .pins import pins
from .pooling import Pooling

__all__ = ["Backbone", "choose_device", "choose_precision", "count_body", "load_backbone"]


@dataclass(frozen=True)
class Backbone:
    """The pre-trained model that everybody starts from, frozen and in evaluation mode."""

    name: str
    model: nn.Module
    processor: Any  # what makes its inputs of data: the tokenizer of a model of texts
    hashes: Mapping[str, str]  # SHA-256 of weights, tokenizer and chat_template
    body_parameters: (
        int  # without the embeddings of tokens and positions, and without the output head; of pictures see `operations`
    )
    parameters: int  # tied ones counted once
    kind: str  # its name in `models.kinds`
    folder: Path  # that it was loaded from
    fresh: tuple[str, ...] = field(default=())  # modules that the folder lacked: random, from the job's seed
    note: str | None = None  # what was done with the head's rows, if anything


def load_backbone(
    name: str,
    *,
    kind: str = "causal",
    labels: Sequence[str] = (),
    pooling: Pooling = "model",
    precision: Precision = "float32",
    device: torch.device,
    base: Path,
    seed: int,
    trust_times: bool = False,
) -> Backbone:
    """Return the backbone, frozen, on `device`.

    Args:
        name: a packaged name, a folder or GGUF file relative to `base`, or a hub id.
        kind: a name of `models.kinds`: what the head is for.
        labels: names of the classes in the order of their numbers; for classifiers.
        pooling: what a classifier's head reads; "model" is the mean too where the folder is of a model that was written so.
        precision: of the weights; under "bfloat16" and "4bit" run it inside torch.autocast.
        device: that it is to compute on.
        base: folder of the job file.
        seed: of the job; a classifier's head is drawn from it where the folder has none that fits.
        trust_times: whether files whose size and times are as before are not hashed again: for looks at a job, not for runs.

    Raises:
        BackboneError: if it cannot be found or read, or has another kind of head, or cannot be pooled so; it names the file at fault.
        SettingError: if the precision does not fit the device, or a classifier has fewer than two labels.
    """
    sort = kind_of(kind)
    sort.check_labels(labels)
    if precision == "4bit":
        check_4bit(device)
    place = locate(name, base)
    files = sort.read(place.folder)
    hashes = background(pins, place, trust_times=trust_times)  # on the other core, while the same files are loaded
    loaded = sort.load(place, files, labels=labels, pooling=pooling, precision=precision, device=device, seed=seed)
    model = _marked(loaded, place.folder)
    found = hashes.result()
    _check_origin(place, found)
    return Backbone(
        name=name,
        model=model,
        processor=loaded.processor,
        hashes=found,
        body_parameters=count_body(model) if loaded.used is None else loaded.used,
        parameters=sum(_numel(p) for p in model.parameters()),
        kind=kind,
        folder=place.folder,
        fresh=loaded.fresh,
        note=loaded.note,
    )


def _marked(loaded: Loaded, folder: Path) -> nn.Module:
    """Return the model with what others look for on it."""
    vars(loaded.model)["fresh_modules"] = loaded.fresh  # tunings train these too
    vars(loaded.model)["name_or_path"] = str(folder)  # what PEFT writes as the adapter's base; a config may say otherwise
    return loaded.model


def _check_origin(place: Location, hashes: Mapping[str, str]) -> None:
    """Raise BackboneError if a file that was converted is no longer the one that the folder was made of."""
    if place.origin is not None and hashes["origin"][:12] not in place.folder.name:
        raise BackboneError(
            f"{place.origin} was changed, and neither its size nor its times show it, so {place.folder} is not what it holds; start again: it is "
            "converted then"
        )


def count_body(model: nn.Module) -> int:
    """Return how many weights take part in a matrix product per token: all but embeddings and the output head."""
    inner: Any = model
    apart = {id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    head = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    if head is not None:
        apart |= {id(p) for p in head.parameters()}
    return sum(_numel(p) for p in model.parameters() if id(p) not in apart)


def _numel(parameter: nn.Parameter) -> int:
    packed = getattr(parameter, "quant_state", None)  # bitsandbytes keeps two 4-bit weights in a byte
    return int(packed.shape.numel()) if packed is not None else parameter.numel()
