"""Where the model computes, and in which precision."""

from typing import Literal, TypeAlias, cast, get_args

import torch

from ..errors import SettingError

Precision: TypeAlias = Literal["float32", "bfloat16", "4bit"]


def choose_device(wanted: str = "auto") -> torch.device:
    """Return the device of this name; auto is the GPU if there is one, else the CPU.

    Raises:
        SettingError: if there is no such device here.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except (RuntimeError, TypeError):
        raise SettingError(f"device is auto, cpu, cuda, cuda:N or mps, got {wanted!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingError(f"device is {wanted!r}, but torch sees {torch.cuda.device_count()} CUDA devices; try auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SettingError(f"device is {wanted!r}, but torch sees none here; try auto or cpu")
    if device.type not in {"cpu", "cuda", "mps"}:
        raise SettingError(f"device is auto, cpu, cuda, cuda:N or mps, got {wanted!r}")
    return device


def choose_precision(wanted: str, device: torch.device, *, of_texts: bool = True) -> Precision:
    """Return the precision of this name; auto is bfloat16 where the device computes in it, else float32.

    Args:
        of_texts: whether the model takes tokens; small convolutions are slower in bfloat16 on a CPU.

    Raises:
        SettingError: if the name is unknown, or the device cannot.
    """
    if wanted == "auto":
        return "bfloat16" if _computes_bfloat16(device) and (of_texts or device.type != "cpu") else "float32"
    if wanted not in get_args(Precision):
        raise SettingError(f"precision is auto, {', '.join(get_args(Precision))}; got {wanted!r}")
    if wanted == "4bit":
        check_4bit(device)
    return cast(Precision, wanted)


def check_4bit(device: torch.device) -> None:
    """Raise SettingError unless 4-bit weights can be used: a CUDA device and the library bitsandbytes."""
    import importlib.util

    if device.type != "cuda":
        raise SettingError(f"precision is 4bit, which needs a CUDA device, and the device is {device}; try bfloat16 or float32")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise SettingError("precision is 4bit, which needs bitsandbytes; run: pip install 'fedtailor[quantized]'")


def _computes_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # without these instructions bfloat16 is emulated and slower than float32
    capability = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(bool(capability.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))
