"""Adapter folders in PEFT's format, read and checked without unpickling anything."""

from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import SettingError
from ...tensors import Tensors
from ...text_files import check_regular, read_json, read_text
from ..layers.flat import as_matrices

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def read_config(folder: Path) -> dict[str, Any]:
    """Return an adapter's adapter_config.json.

    Raises:
        SettingError: if the folder holds none, or it cannot be read.
    """
    path = folder / CONFIG
    if not path.exists():
        raise SettingError(
            f"{folder} is not an adapter folder: it has no {CONFIG}; name the folder that PEFT's save_pretrained or a run wrote"
        )
    config = read_json(read_text(path, "the configuration of an adapter"), str(path))
    if not isinstance(config, dict):
        raise SettingError(f"{path} holds no mapping; was it written by PEFT?")
    return config


def read_adapter(folder: Path, wanted: Tensors, *, more_in_file: bool = False) -> dict[str, Tensor]:
    """Return an adapter's tensors, which must agree with `wanted` in names and shapes.

    Args:
        more_in_file: whether the file may hold others too, which are then left out.

    Raises:
        SettingError: if the file is missing, cannot be read, or holds other names or shapes.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        other = "; it has adapter_model.bin, which we do not unpickle" if (folder / "adapter_model.bin").exists() else ""
        raise SettingError(f"{folder} has no {WEIGHTS}{other}; save the adapter again with PEFT's safe_serialization=True")
    found = as_matrices(read_tensors(path), wanted)
    if more_in_file:
        found = {name: value for name, value in found.items() if name in wanted}
    check_fit(path, found, wanted)
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a safetensors file.

    Raises:
        SettingError: if it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_regular(path, "the weights of an adapter")
    try:
        found: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as fault:
        raise SettingError(f"{path} cannot be read ({fault}); is it whole?") from fault
    return found


def check_fit(path: Path, found: Tensors, wanted: Tensors) -> None:
    """Raise SettingError, naming the first difference, if the tensors of a file are not those wanted by name and shape."""
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or extra:
        raise SettingError(
            f"{path} does not fit this tuning: {len(missing)} tensors are missing (first: {missing[:1]}) and {len(extra)} are "
            f"unknown (first: {extra[:1]}); was it trained on the same backbone with the same targets?"
        )
    for name, value in found.items():
        if value.shape != wanted[name].shape:
            raise SettingError(
                f"{path}: {name} has shape {tuple(value.shape)}, this tuning needs {tuple(wanted[name].shape)}; "
                "was it trained with the same rank and labels?"
            )
