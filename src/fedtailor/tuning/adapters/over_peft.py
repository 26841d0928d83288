"""What the tunings that PEFT computes have in common: putting them in place, their names, their folders."""

import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ...chance import stream_seed, torch_draws
from ...errors import BackboneError, SettingError
from ...interfaces import POOLING
from ...tensors import Tensors
from ..begin import begin_elsewhere
from ..layers.flat import as_kernels, plain_name
from .files import WEIGHTS, read_adapter, read_config, read_tensors
from .targets import is_denoiser, label_rows

ADAPTER = "default"  # PEFT's name of the one adapter that we attach
HEADS = ("classifier", "score")  # what PEFT takes for the head of a classifier, and trains whole by itself
LABELS = "labels.json"  # beside a classifier's adapter: the names of its classes in the order of their numbers
HEAD = "head.json"  # beside it: what its head reads


def attach_peft(model: nn.Module, config: Any, seed: int) -> nn.Module:
    """Return PEFT's wrapper around the model, in evaluation mode, with trained weights in float32.

    Args:
        model: a frozen transformers model; it is changed in place.
        config: one of PEFT's.
        seed: of the job; the tuning's draws depend on it alone, and the global random state is left as it was.

    Raises:
        BackboneError: if the model has an adapter already.
    """
    from peft import get_peft_model

    check_bare(model)
    with torch_draws(stream_seed(seed, "tuning")), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by a name that the next version drops
        tuned: nn.Module = get_peft_model(model, config)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return tuned.eval()


def attach_in_front(model: nn.Module, config: Any, seed: int, *, kind: str) -> nn.Module:
    """Return what `attach_peft` does, of a tuning that puts something before the text.

    Raises:
        SettingError: naming the tuning, if PEFT cannot put it before texts of this model, or a classifier bears padding on the left alone
            (XLNet): it would stand between what is put in front and the text, and a row's classes would depend on its neighbours' lengths.
    """
    if is_classifier(model) and getattr(model, "padding_side", "right") == "left":
        raise SettingError(
            f"tuning {kind} and a {type(model).__name__} do not go together: it bears padding on the left alone, where it would part what is put in "
            "front from the text; try tuning: lora or adapter"
        )
    try:
        return begin_elsewhere(attach_peft(model, config, seed))
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as fault:
        raise SettingError(
            f"tuning {kind} and a {type(model).__name__} do not go together: {fault}; try tuning: lora or adapter"
        ) from fault


def check_bare(model: nn.Module) -> None:
    """Raise BackboneError if the model has an adapter."""
    if hasattr(model, "peft_config"):
        raise BackboneError("the model has an adapter already; load the backbone again, or merge the adapter first")


def task_settings(model: nn.Module) -> dict[str, Any]:
    """Return the settings that every PEFT config takes from the model.

    What the backbone's folder lacked (`model.fresh_modules`, which `load_backbone` sets) is trained whole: it is random, so
    nobody could use the result without it. PEFT adds a classifier's head by itself. So are the tables of labels of a model that makes pictures.
    """
    classifier = is_classifier(model)
    # parts of a head of several layers (RoBERTa's) go with the whole: wrapped twice, most methods can neither join nor load them
    fresh = [name for name in getattr(model, "fresh_modules", ()) if not (classifier and name.split(".")[0] in HEADS)]
    if is_denoiser(model):
        return {"task_type": None, "modules_to_save": list(label_rows(model)) or None}
    if type(model).__name__.endswith("ForQuestionAnswering"):  # whose head PEFT trains whole by itself
        return {"task_type": "QUESTION_ANS", "modules_to_save": [name for name in fresh if name != "qa_outputs"] or None}
    if getattr(model, "gives_vectors", False):
        return {"task_type": "FEATURE_EXTRACTION", "modules_to_save": fresh or None}
    return {"task_type": "SEQ_CLS" if classifier else "CAUSAL_LM", "modules_to_save": fresh or None}


def trained_by_name(model: nn.Module) -> Mapping[str, nn.Parameter]:
    """Return the trained parameters by the names of PEFT's adapter file, sorted; those of further adapters are not among them."""
    further = {name for name in getattr(model, "peft_config", {}) if name != ADAPTER}
    named = ((name, p) for name, p in model.named_parameters() if p.requires_grad and not further.intersection(name.split(".")))
    return dict(sorted((published_name(name), p) for name, p in named))


def published_name(name: str) -> str:
    """Return a parameter's name as PEFT's adapter file has it, without PEFT's wrappers and its name of the adapter."""
    bare = plain_name(name).replace(f".modules_to_save.{ADAPTER}.", ".").replace(f".{ADAPTER}.", ".").removesuffix(f".{ADAPTER}")
    return (
        bare.removesuffix(".weight") if bare.endswith(".lora_magnitude_vector.weight") else bare
    )  # DoRA's, named otherwise once


def factor_scale(model: nn.Module, adapter: str = ADAPTER) -> Mapping[str, float]:
    """Return what the product of each pair of an adapter's LoRA factors is multiplied with, by name of the adapted module, sorted."""
    from peft.tuners.lora import LoraLayer

    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    return {name: float(layers[name].scaling[adapter]) for name in sorted(layers)}


def save_peft(model: nn.Module, folder: Path, *, tensors: Tensors | None = None) -> None:
    """Write adapter_config.json and adapter_model.safetensors as PEFT does, and labels.json beside a classifier's.

    `base_model_name_or_path` is the folder that the backbone was loaded from.

    Args:
        tensors: the model's state, if PEFT's names are not those of the layers in place.
    """
    tuned: Any = model
    # "auto" embedding layers would ask the hub
    tuned.save_pretrained(
        str(folder),
        selected_adapters=[ADAPTER],
        safe_serialization=True,
        save_embedding_layers=False,
        state_dict=as_kernels(tuned) if tensors is None else tensors,
    )
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's form of empty headings; export writes a card with content
    write_labels(tuned.get_base_model(), folder)


def attach_saved(model: nn.Module, folder: Path) -> nn.Module:
    """Return PEFT's wrapper around a bare model with the adapter of a folder in place, at rest.

    Raises:
        SettingError: if the folder is missing, unreadable or holds an adapter of another model.
        BackboneError: if the model has an adapter already.
    """
    from peft import PeftModel

    check_bare(model)
    read_config(folder)
    read_tensors(folder / WEIGHTS)  # never the file that PEFT would unpickle
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # as in `attach_peft`
            tuned: nn.Module = PeftModel.from_pretrained(model, str(folder))
    except (ValueError, RuntimeError, TypeError) as fault:
        raise SettingError(f"{folder} holds an adapter that does not fit a {type(model).__name__}: {fault}") from fault
    return tuned


def write_labels(model: nn.Module, folder: Path) -> None:
    """Write labels.json, the names of the classes in the order of their numbers, and head.json, what their head reads, if there are classes."""
    known: tuple[str, ...] = getattr(model, "label_names", ())
    if known:  # of what pictures are asked for by
        (folder / LABELS).write_text(json.dumps(list(known), ensure_ascii=False) + "\n", encoding="utf-8")
    if is_classifier(model):
        config: Any = model.config
        names = json.dumps([config.id2label[i] for i in sorted(config.id2label)], ensure_ascii=False)
        (folder / LABELS).write_text(names + "\n", encoding="utf-8")
        (folder / HEAD).write_text(json.dumps({"pooling": getattr(config, POOLING, "model")}) + "\n", encoding="utf-8")


def add_note(model: nn.Module, text: str) -> None:
    """Leave a sentence for the user on a model; see `notes_of`."""
    vars(model)["tuning_notes"] = (*notes_of(model), text)


def notes_of(model: nn.Module) -> tuple[str, ...]:
    """Return what is to be said of how a tuning was put in place."""
    return tuple(getattr(model, "tuning_notes", ()))


def restore_tensors(wanted: Mapping[str, nn.Parameter], folder: Path, *, more_in_file: bool = False) -> None:
    """Copy the tensors of the adapter in `folder` into the parameters of the same names.

    Args:
        more_in_file: whether the file may hold others too.

    Raises:
        SettingError: if the folder is missing, unreadable or holds an adapter of another shape.
    """
    copy_into(wanted, read_adapter(folder, wanted, more_in_file=more_in_file))


def copy_into(parameters: Mapping[str, nn.Parameter], tensors: Tensors) -> None:
    """Copy a tensor into each parameter, which keeps its dtype and device."""
    for name, parameter in parameters.items():
        parameter.data.copy_(tensors[name])


def head_names(model: Any, names: Iterable[str]) -> frozenset[str]:
    """Return which of these names of trained weights belong to a classifier's head; none if the model names no class."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return (
        frozenset(name for name in names if not set(HEADS).isdisjoint(name.split("."))) if is_classifier(inner) else frozenset()
    )


def is_classifier(model: nn.Module) -> bool:
    """Return whether the model (not one that PEFT has wrapped) names the class of a text."""
    return type(model).__name__.endswith("ForSequenceClassification")
