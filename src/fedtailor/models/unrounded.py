"""Weights under training start from those of the backbone's file, also where the frozen rest is in bfloat16."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn


def unround(model: nn.Module, trained: Mapping[str, nn.Parameter], folder: Path) -> None:
    """Give each trained parameter that is a weight of the file, rounded to bfloat16, the value of the file: heads, layer norms.

    A parameter that is anything else, such as a factor or a head drawn again, stays as it is. Tensors are read one at a time.

    Args:
        model: with a tuning in place; changed in place.
        trained: its trained parameters, by any names whose end is that of the weight in the file.
        folder: of the backbone.
    """
    from safetensors import safe_open

    inner: Any = model
    base = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
    body = f"{base.base_model_prefix}."
    wanted = {name.removeprefix("base_model.model."): parameter for name, parameter in trained.items()}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            kept = set(file.keys())
            for name, parameter in wanted.items():
                found = next((key for key in _names_in_file(name, body) if key in kept), None)
                if found is not None and tuple(file.get_slice(found).get_shape()) == tuple(parameter.shape):
                    exact = file.get_tensor(found).to(parameter.device)
                    if torch.equal(exact.to(torch.bfloat16).float(), parameter.detach().float()):
                        parameter.data.copy_(exact)


def _names_in_file(name: str, body: str) -> list[str]:
    """Return the names that a weight can have in a file: with and without that of the body, and without what PEFT puts before its last part."""
    module, _, part = name.rpartition(".")
    return [key for own in (name, f"{module.rpartition('.')[0]}.{part}") for key in (own, own.removeprefix(body), body + own)]
