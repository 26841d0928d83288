"""Loads a backbone: frozen, pinned by hashes, with its tokenizer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from ..chance import stream_seed, torch_draws
from ..errors import BackboneError, SettingError
from .build import bounded_build, check_numbers
from .cache import background
from .device import Precision, check_4bit, choose_device, choose_precision
from .ends import check_ends, generation_settings
from .faults import check_type, config_fault, is_ours
from .files import Weights, read_settings, read_weights
from .labels import class_layer, follow, plan_head
from .locate import Location, locate
from .pins import pins
from .pooling import Pooling, is_unread, pool_mean, reads_mean
from .probe import find_padding
from .quiet import quiet_transformers
from .tokenizer import load_tokenizer
from .whole import check_fits, check_numbers_of

__all__ = ["Backbone", "choose_device", "choose_precision", "count_body", "load_backbone"]

Kind: TypeAlias = Literal["causal", "classifier"]
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
    note: str | None = None  # what was done with the head's rows, if anything


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
    trust_times: bool = False,
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
        trust_times: whether files whose size and times are as before are not hashed again: for looks at a job, not for runs.

    Raises:
        BackboneError: if it cannot be found or read, or has another kind of head, or cannot be pooled so; it names the file at fault.
        SettingError: if the precision does not fit the device, or a classifier has fewer than two labels.
    """
    if kind == "classifier" and len(labels) < 2:
        raise SettingError(f"labels must name at least two classes for a classifier, got {list(labels)!r}")
    if precision == "4bit":
        check_4bit(device)
    place = locate(name, base)
    settings = read_settings(place.folder)
    weights = read_weights(place.folder)
    check_type(settings, place.folder / "config.json")
    check_numbers(settings, place.folder / "config.json", weights)  # before the tokenizer, which reads the config too
    hashes = background(pins, place, trust_times=trust_times)  # on the other core, while the same files are loaded
    tokenizer = load_tokenizer(place.folder)
    model, fresh, note = _load_model(
        place, settings, weights, kind=kind, labels=labels, precision=precision, device=device, seed=seed
    )
    check_numbers_of(model, place.folder)
    _agree_on_padding(model, tokenizer, place.folder)
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
    found = hashes.result()
    if place.origin is not None and found["origin"][:12] not in place.folder.name:
        raise BackboneError(
            f"{place.origin} was changed, and neither its size nor its times show it, so {place.folder} is not what it holds; start again: it is "
            "converted then"
        )
    return Backbone(
        name=name,
        model=model,
        tokenizer=tokenizer,
        hashes=found,
        body_parameters=count_body(model),
        parameters=sum(_numel(p) for p in model.parameters()),
        kind=kind,
        folder=place.folder,
        fresh=fresh,
        note=note,
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
    place: Location,
    settings: Mapping[str, Any],
    weights: Weights,
    *,
    kind: Kind,
    labels: Sequence[str],
    precision: Precision,
    device: torch.device,
    seed: int,
) -> tuple[nn.Module, tuple[str, ...], str | None]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    path = place.folder / "config.json"
    try:
        with (
            quiet_transformers(),
            torch_draws(stream_seed(seed, "head")),
            bounded_build(settings, path, weights, labels=len(labels)),
        ):
            config = AutoConfig.from_pretrained(place.folder, local_files_only=True, trust_remote_code=False)
            _check_head(place, kind, config)
            config.return_dict = True  # outputs are read by name
            loader = AutoModelForCausalLM if kind == "causal" else AutoModelForSequenceClassification
            plan = plan_head(config, labels, place.folder) if kind == "classifier" else None
            if plan:
                _name_classes(config, plan.loads_as)
            model, report = loader.from_pretrained(
                place.folder,
                config=config,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # a head for other classes is drawn anew; all else is refused below
                **({"generation_config": generation_settings(place.folder)} if kind == "causal" else {}),
                **_form(precision, device),
            )
            check_fits(model, report, place.folder, settings, causal=kind == "causal")
            lacking = sorted(report["missing_keys"])
            mismatched = sorted(entry[0] for entry in report["mismatched_keys"])
            drawn, note = follow(plan, model, lacking=lacking, mismatched=mismatched) if plan else (None, None)
            if plan:
                _name_classes(model.config, labels)
                model.num_labels = len(labels)
                vars(model)["class_layer"] = class_layer(model)[0]  # whose rows tunings match with labels
    except BaseException as fault:  # whatever transformers, safetensors and tokenizers raise; a panic is no Exception
        if is_ours(fault):
            raise
        raise config_fault(fault, place.folder, settings, kind, weights) from fault
    lacking += mismatched
    loaded: nn.Module = model if precision == "4bit" else model.to(device)
    return loaded, tuple(sorted({key.rpartition(".")[0] for key in lacking} | ({drawn} if drawn else set()))), note


def _check_head(place: Location, kind: Kind, config: Any) -> None:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    names = config.architectures if isinstance(config.architectures, list) else []
    if kind == "causal" and any(str(name).endswith(OTHER_HEADS) for name in names):
        raise BackboneError(
            f"backbone folder {place.folder} is a {names[0]}, the task needs a causal language model; "
            "try smollm2-135m, or task.kind: classification"
        )
    known = MODEL_FOR_CAUSAL_LM_MAPPING if kind == "causal" else MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    if type(config) not in known:
        wanted = "causal language models, such as llama" if kind == "causal" else "models that name classes, such as bert"
        raise BackboneError(
            f"{place.folder / 'config.json'}: model_type is {config.model_type!r}, and transformers has no such model with the head that the task "
            f"needs; name a backbone of one of its {wanted}"
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


def _agree_on_padding(model: nn.Module, tokenizer: Any, folder: Path) -> None:
    inner: Any = model
    inner.config.pad_token_id = tokenizer.pad_token_id  # a decoder with a class head reads the last token that is not this
    if getattr(inner, "generation_config", None) is not None:
        inner.generation_config.pad_token_id = tokenizer.pad_token_id
    rows = inner.get_input_embeddings().weight.shape[0]
    highest = max(tokenizer.get_vocab().values(), default=0)
    if len(tokenizer) > rows or highest >= rows:
        raise BackboneError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, numbered up to {highest}; the model embeds {rows}: they do not belong together, so "
            "get tokenizer and weights of one model"
        )


def _numel(parameter: nn.Parameter) -> int:
    packed = getattr(parameter, "quant_state", None)  # bitsandbytes keeps two 4-bit weights in a byte
    return int(packed.shape.numel()) if packed is not None else parameter.numel()
