"""Loads a backbone: frozen, pinned by hashes, with its tokenizer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from ..chance import stream_seed, torch_draws
from ..errors import BackboneError, SettingError
from .device import Precision, check_4bit, choose_device, choose_precision
from .ends import check_ends, generation_settings
from .info import chat_template, pins
from .locate import Location, locate
from .pooling import Pooling, is_unread, pool_mean, reads_mean
from .probe import find_padding
from .quiet import quiet_transformers

__all__ = ["Backbone", "choose_device", "choose_precision", "count_body", "load_backbone"]

Kind: TypeAlias = Literal["causal", "classifier"]
TOKENIZERS = ("tokenizer*", "vocab*", "merges.txt", "*.model")  # files of which a tokenizer has at least one
OTHER_HEADS = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")  # of no next token


@dataclass(frozen=True)
class Backbone:
    """The pre-trained model that everybody starts from, frozen and in evaluation mode."""

    name: str
    model: nn.Module
    tokenizer: Any
    hashes: Mapping[str, str]  # SHA-256 of weights, tokenizer and chat_template
    body_parameters: int  # without the embeddings of tokens and positions, and without the output head
    parameters: int  # tied ones counted once
    kind: Kind
    folder: Path  # that it was loaded from
    fresh: tuple[str, ...] = field(default=())  # modules that the folder lacked: random, from the job's seed


def load_backbone(
    name: str,
    *,
    kind: Kind = "causal",
    labels: Sequence[str] = (),
    pooling: Pooling = "model",
    precision: Precision = "float32",
    device: torch.device,
    base: Path,
    seed: int,
) -> Backbone:
    """Return the backbone, frozen, on `device`.

    Args:
        name: a packaged name, a folder or GGUF file relative to `base`, or a hub id.
        kind: with a head for the next token, or for classes.
        labels: names of the classes in the order of their numbers; for classifiers.
        pooling: what a classifier's head reads; "model" is the mean too where the folder is of a model that was written so.
        precision: of the weights; under "bfloat16" and "4bit" run it inside torch.autocast.
        device: that it is to compute on.
        base: folder of the job file.
        seed: of the job; a classifier's head is drawn from it where the folder has none that fits.

    Raises:
        BackboneError: if it cannot be found or read, or has another kind of head, or cannot be pooled so.
        SettingError: if the precision does not fit the device, or a classifier has fewer than two labels.
    """
    if kind == "classifier" and len(labels) < 2:
        raise SettingError(f"labels must name at least two classes for a classifier, got {list(labels)!r}")
    if precision == "4bit":
        check_4bit(device)
    place = locate(name, base)
    tokenizer = _load_tokenizer(place)
    model, fresh = _load_model(place, kind=kind, labels=labels, precision=precision, device=device, seed=seed)
    _agree_on_padding(model, tokenizer)
    if kind == "causal":
        check_ends(model, place.folder)
    if kind == "classifier" and (pooling == "mean" or reads_mean(model)):
        pool_mean(model)
        fresh = tuple(name for name in fresh if not is_unread(model, name))
    model.requires_grad_(False)
    model.eval()
    vars(model)["padding_side"] = find_padding(model, tokenizer, causal=kind == "causal", what=f"backbone folder {place.folder}")
    vars(model)["fresh_modules"] = fresh  # tunings train these too
    vars(model)["name_or_path"] = str(place.folder)  # what PEFT writes as the adapter's base; a config may say otherwise
    return Backbone(
        name=name,
        model=model,
        tokenizer=tokenizer,
        hashes=pins(place),
        body_parameters=count_body(model),
        parameters=sum(_numel(p) for p in model.parameters()),
        kind=kind,
        folder=place.folder,
        fresh=fresh,
    )


def count_body(model: nn.Module) -> int:
    """Return how many weights take part in a matrix product per token: all but embeddings and the output head."""
    inner: Any = model
    apart = {id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    head = inner.get_output_embeddings()
    if head is not None:
        apart |= {id(p) for p in head.parameters()}
    return sum(_numel(p) for p in model.parameters() if id(p) not in apart)


def _load_model(
    place: Location, *, kind: Kind, labels: Sequence[str], precision: Precision, device: torch.device, seed: int
) -> tuple[nn.Module, tuple[str, ...]]:
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    try:
        with quiet_transformers(), torch_draws(stream_seed(seed, "head")):
            config = AutoConfig.from_pretrained(place.folder, local_files_only=True)
            _check_head(place, kind, config)
            loader = AutoModelForCausalLM if kind == "causal" else AutoModelForSequenceClassification
            if kind == "classifier":
                _name_classes(config, labels)
            model, report = loader.from_pretrained(
                place.folder,
                config=config,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=kind == "classifier",  # a head for other classes is drawn anew
                **({"generation_config": generation_settings(place.folder)} if kind == "causal" else {}),
                **_form(precision, device),
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as fault:
        raise BackboneError(
            f"backbone folder {place.folder} could not be loaded as a {kind} ({type(fault).__name__}: {fault}); "
            "are its files whole, and of a kind of model that transformers knows?"
        ) from fault
    lacking = sorted({*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])})
    if kind == "causal" and lacking:
        raise BackboneError(
            f"backbone folder {place.folder} lacks {len(lacking)} weights of a causal language model (first: {lacking[0]}), "
            "so its output would be random; name a model that was trained to generate"
        )
    loaded: nn.Module = model if precision == "4bit" else model.to(device)
    return loaded, tuple(sorted({key.rpartition(".")[0] for key in lacking}))


def _check_head(place: Location, kind: Kind, config: Any) -> None:
    names = getattr(config, "architectures", None) or []
    if kind == "causal" and any(name.endswith(OTHER_HEADS) for name in names):
        raise BackboneError(
            f"backbone folder {place.folder} is a {names[0]}, the task needs a causal language model; "
            "try smollm2-135m, or task.kind: classification"
        )


def _form(precision: Precision, device: torch.device) -> dict[str, Any]:
    if precision != "4bit":
        return {"dtype": torch.bfloat16 if precision == "bfloat16" else torch.float32}
    from transformers import BitsAndBytesConfig

    packing = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    return {"dtype": torch.bfloat16, "quantization_config": packing, "device_map": {"": device}}


def _name_classes(config: Any, labels: Sequence[str]) -> None:
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    config.problem_type = "single_label_classification"


def _load_tokenizer(place: Location) -> Any:
    from transformers import AutoTokenizer

    if not any(path for pattern in TOKENIZERS for path in place.folder.glob(pattern)):  # transformers would make an empty one
        raise BackboneError(
            f"{place.folder} has no tokenizer: it needs tokenizer.json and tokenizer_config.json; of a run with tuning: full, take the folder that "
            "fedtailor export RUN --to merged writes"
        )
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(place.folder, local_files_only=True, use_fast=True)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as fault:
        raise BackboneError(
            f"backbone folder {place.folder} has no tokenizer that can be loaded ({type(fault).__name__}: {fault}); "
            "it needs tokenizer.json and tokenizer_config.json"
        ) from fault
    if not getattr(tokenizer, "is_fast", False):
        raise BackboneError(
            f"the tokenizer of {place.folder} knows no character offsets; it needs a tokenizer.json (a fast tokenizer)"
        )
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token or tokenizer.unk_token
    if tokenizer.pad_token_id is None:
        raise BackboneError(f"the tokenizer of {place.folder} has no pad, end or unknown token to pad with; give it a pad_token")
    tokenizer.chat_template = chat_template(tokenizer)
    return tokenizer


def _agree_on_padding(model: nn.Module, tokenizer: Any) -> None:
    inner: Any = model
    inner.config.pad_token_id = tokenizer.pad_token_id  # a decoder with a class head reads the last token that is not this
    if getattr(inner, "generation_config", None) is not None:
        inner.generation_config.pad_token_id = tokenizer.pad_token_id
    rows = inner.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise BackboneError(f"the tokenizer has {len(tokenizer)} tokens, the model embeds {rows}: they do not belong together")


def _numel(parameter: nn.Parameter) -> int:
    packed = getattr(parameter, "quant_state", None)  # bitsandbytes keeps two 4-bit weights in a byte
    return int(packed.shape.numel()) if packed is not None else parameter.numel()
