"""An adapter of an earlier run, or of PEFT's, as the start of a new one: taken only if it means here what it meant there."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import SettingError
from ..interfaces import POOLING
from ..tensors import Tensors
from ..text_files import read_json, read_text
from .adapters.files import WEIGHTS, check_fit, read_config, read_tensors
from .adapters.over_peft import ADAPTER, HEAD, LABELS, add_note, copy_into, is_classifier
from .layers.flat import as_matrices

FREE = {  # fields of adapter_config.json that change nothing in a trained adapter, or whose effect stands in the names of its tensors
    "auto_mapping", "base_model_name_or_path", "exclude_modules", "fan_in_fan_out", "inference_mode", "layers_pattern", "layers_to_transform",
    "megatron_core", "modules_to_save", "peft_version", "revision", "runtime_config", "target_modules", "task_type",
}  # fmt: skip
DROPOUT = "dropout"  # fields that end so act in training alone
STARTS = ("init_lora_weights", "init_weights")  # how weights were drawn that have been trained since
HARMLESS_STARTS = (
    True,
    False,
    "eva",
    "gaussian",
    "kaiming_uniform",
    "orthogonal",
    "xavier_uniform",
)  # the backbone's weights stay as they are
OF_STARTS = {"eva_config": "eva"}  # details of a harmless start


def start_from(tuned: nn.Module, wanted: Mapping[str, nn.Parameter], folder: Path) -> None:
    """Copy the adapter in `folder` into a model with an adapter in place; a head's rows are matched by the names of their classes.

    Args:
        tuned: PEFT's wrapper around a model; a note is left on it if the head starts again.
        wanted: its trained parameters, by the names of PEFT's file.

    Raises:
        SettingError: if the adapter is of another method, was computed otherwise, or does not fit the model.
    """
    model: Any = tuned
    check_same_method(folder, model.peft_config[ADAPTER])
    found = _read(folder)
    if is_classifier(model.get_base_model()):
        _check_pooling(folder, model)
        found = _head_by_name(folder, found, wanted, model)
    found = as_matrices(found, wanted)
    check_fit(folder / WEIGHTS, found, wanted)
    copy_into(wanted, found)


def check_same_method(folder: Path, here: Any) -> None:
    """Raise SettingError unless the adapter in `folder` computes what one of the configuration `here` does.

    Every field counts but those known to change nothing. One that PEFT, as it is installed here, does not know may be there as long as it is off.

    Args:
        folder: of an adapter.
        here: PEFT's configuration of the adapter in place.
    """
    try:
        config = read_config(folder)
    except SettingError as error:
        raise SettingError(f"initial: {error}") from None
    wanted = _plain(here.to_dict())
    if config.get("peft_type") != wanted["peft_type"]:
        raise SettingError(f"initial: {folder} holds a {config.get('peft_type')} adapter, this tuning is {wanted['peft_type']}")
    sizes = [name for name in ("r", "lora_alpha") if name in wanted and config.get(name) != wanted[name]]
    other = [name for name in config if name not in (*sizes, *FREE) and not _same(name, config, wanted)]
    if other:
        raise SettingError(
            f"initial: the adapter in {folder} was made with {', '.join(f'{name}: {json.dumps(config[name])}' for name in other)}, which changes what "
            f"it computes, and which this tuning does not have; {_way_out(config)}"
        )
    if sizes:
        raise SettingError(
            f"initial: the adapter in {folder} has rank {config.get('r')} and alpha {config.get('lora_alpha')}, the job has rank {wanted['r']} and "
            f"alpha {wanted['lora_alpha']}; set both as the adapter has them"
        )


def _same(name: str, config: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    theirs, ours = config[name], wanted.get(name)
    if name.endswith(DROPOUT) or _equal(theirs, ours) or (_is_off(theirs) and _is_off(ours)):
        return True
    if name in STARTS:
        return any(_equal(theirs, start) for start in HARMLESS_STARTS) and any(_equal(ours, start) for start in HARMLESS_STARTS)
    return name in OF_STARTS and OF_STARTS[name] in (config.get(start) for start in STARTS)


def _equal(left: Any, right: Any) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)  # 1 is not true


def _is_off(value: Any) -> bool:
    return value is None or value is False or value in ({}, [])


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as it reads in a file: sets and enumerations as lists and texts."""
    found: dict[str, Any] = json.loads(
        json.dumps(config, default=lambda value: sorted(value) if isinstance(value, set) else str(value))
    )
    return found


def _way_out(config: Mapping[str, Any]) -> str:
    changed = next((config[name] for name in STARTS if isinstance(config.get(name), str)), None)
    if changed is not None and changed not in HARMLESS_STARTS:
        return (
            f"{changed} trains beside a backbone of other weights; write it as a plain LoRA of twice the rank with PEFT's save_pretrained(..., "
            "path_initial_model_for_weight_conversion=...), and start from that"
        )
    return "start from a plain LoRA, or, where PEFT can join that adapter with its backbone (merge_and_unload), name the joined model as backbone"


def _read(folder: Path) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        other = "; it has adapter_model.bin, which we do not unpickle" if (folder / "adapter_model.bin").exists() else ""
        raise SettingError(f"{folder} has no {WEIGHTS}{other}; save the adapter again with PEFT's safe_serialization=True")
    return read_tensors(path)


def _check_pooling(folder: Path, model: Any) -> None:
    """Raise SettingError if the adapter's head was trained to read something else of a text than it would here."""
    here, path = getattr(model.get_base_model().config, POOLING, "model"), folder / HEAD
    if not path.exists():
        if here != "model":
            add_note(
                model,
                f"the adapter in {folder} does not say what its head was trained to read; it reads the mean over tokens here (task.pooling: mean)",
            )
        return
    content = read_json(read_text(path, "what an adapter's head reads"), str(path))
    there = content.get("pooling") if isinstance(content, dict) else None
    if there != here:
        raise SettingError(
            f"initial: the head of the adapter in {folder} was trained with task.pooling: {there}, the job has {here}; set task.pooling: {there}"
        )


def _head_by_name(folder: Path, found: Tensors, wanted: Tensors, model: Any) -> dict[str, Tensor]:
    """Return the adapter's tensors with the rows of its head in the order of the model's classes.

    Where it was trained for other classes, the rows are those of the model, and a note says so.
    """
    base = model.get_base_model()
    here = [base.config.id2label[number] for number in sorted(base.config.id2label)]
    head = f"base_model.model.{base.class_layer}."
    rows = [name for name in wanted if name.startswith(head) and wanted[name].ndim and len(wanted[name]) == len(here)]
    names = _names(folder, here)
    places = {name: place for place, name in enumerate(names)}
    if set(here) <= places.keys():
        order = [places[name] for name in here]
        return {name: value[order] if name in rows and len(value) == len(names) else value for name, value in found.items()}
    add_note(
        model,
        f"the adapter in {folder} is for the classes {_some(names)}, the job's are {_some(here)}: its head is not used and a new one is drawn; "
        "where they mean the same, give task.labels the names in its labels.json, in any order",
    )
    return {name: wanted[name].detach().cpu() if name in rows else value for name, value in found.items()}


def _names(folder: Path, here: Sequence[str]) -> list[str]:
    """Return the names of the classes that an adapter's head was trained for, in the order of its rows."""
    path = folder / LABELS
    want = f"a JSON list of names in the order that it was trained with, such as {json.dumps(list(here[:3]), ensure_ascii=False)}"
    if not path.exists():
        raise SettingError(
            f"initial: the adapter in {folder} holds the head of a classifier and does not say which row is which class; write {LABELS} into it: {want}"
        )
    names = read_json(read_text(path, "the names of an adapter's classes"), str(path))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise SettingError(f"{path} holds something else than distinct names; it holds {want}")
    return names


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f", ... ({len(names)} in all)" if len(names) > 5 else "")
