"""Two LoRA adapters on the same modules, each counting a share of its own: W x + (1 - s) first(x) + s second(x).

The share s of the second may differ from example to example, from token to token and from module to module. A share that is one number for all
is a plain LoRA of both ranks together, which `save_joined` writes; any other needs both adapters, and whoever knows the shares.
"""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ...chance import stream_seed, torch_draws
from ...tensors import Tensors
from .files import CONFIG, WEIGHTS, read_config, read_tensors
from .over_peft import ADAPTER, factor_scale, save_peft
from .second import activate, active_adapters, adapter_parameters, lora_layers

Share: TypeAlias = Callable[[str, Tensor], "Tensor | float"]
"""Given the name of a module and its input [..., in]: the share s of the second adapter, a number or a tensor that fits [..., 1]."""


@contextmanager
def mixed(model: nn.Module, second: str, share: Share) -> Iterator[None]:
    """Let the first adapter and `second` take part in the forward pass by their shares, inside the block."""
    active = active_adapters(model)
    activate(model, (ADAPTER, second))
    handles = [handle for name, layer in lora_layers(model).items() for handle in _hooks(name, layer, second, share)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        activate(model, active)


def draw_adapter(model: nn.Module, name: str, *, seed: int) -> None:
    """Set the factors of an adapter as they were when it was put in place: A drawn from `seed` as PEFT draws it, B zero."""
    with torch.no_grad(), torch_draws(stream_seed(seed, f"drawn-{name}")):
        for factor, parameter in adapter_parameters(model, name).items():
            if f".{name}_A." in factor:
                drawn = torch.empty(parameter.shape)
                nn.init.kaiming_uniform_(drawn, a=math.sqrt(5))
                parameter.copy_(drawn)
            else:
                parameter.zero_()


def save_joined(model: nn.Module, folder: Path, *, second: str, share: float) -> None:
    """Write both adapters as one LoRA in PEFT's format, of both ranks together and with alpha / rank of 1.

    Its factors are A = [A1; A2] and B = [(1 - s) c1 B1, s c2 B2], c being alpha / rank of each.
    """
    save_peft(model, folder)
    tensors, config = read_tensors(folder / WEIGHTS), read_config(folder)
    own = {name.replace(f".{second}_", ".lora_"): value for name, value in adapter_parameters(model, second).items()}
    scales = (factor_scale(model), factor_scale(model, second))
    for name, value in own.items():
        module, side = name.split(".lora_")
        added = value.detach().cpu()
        if side.startswith("A"):
            tensors[name] = torch.cat([tensors[name], added])
        else:
            shares = ((1 - share) * scales[0][module], share * scales[1][module])
            tensors[name] = torch.cat([shares[0] * tensors[name], shares[1] * added], dim=1)
    rank = next(tensors[name].shape[0] for name in own if ".lora_A." in name)
    save_file(tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config | {"r": rank, "lora_alpha": rank}, indent=2, sort_keys=True), encoding="utf-8")


def load_factors(model: nn.Module, name: str, tensors: Tensors) -> None:
    """Copy factors, named as `adapter_parameters` names them, into an adapter."""
    with torch.no_grad():
        for factor, parameter in adapter_parameters(model, name).items():
            parameter.copy_(tensors[factor])


def settings_of(model: nn.Module, name: str = ADAPTER) -> tuple[int, float]:
    """Return rank and alpha of an adapter, the first if none is named; 0 and 0 if the model has no such LoRA."""
    config: Any = getattr(model, "peft_config", {}).get(name)
    return int(getattr(config, "r", 0)), float(getattr(config, "lora_alpha", 0))


def dropout_of(model: nn.Module) -> float:
    """Return the dropout of the first adapter's input; 0 if the model has no such LoRA."""
    return float(getattr(getattr(model, "peft_config", {}).get(ADAPTER), "lora_dropout", 0.0))


def _hooks(name: str, layer: Any, second: str, share: Share) -> Iterator[Any]:
    """Multiply what each adapter adds to the layer's output by its share, which is found from the layer's input."""
    current: list[Tensor | float] = [0.0]

    def find(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        current[0] = share(name, inputs[0])

    def weigh_first(_: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return output * (1 - current[0])

    def weigh_second(_: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return output * current[0]

    yield layer.register_forward_pre_hook(find)
    yield layer.lora_B[ADAPTER].register_forward_hook(weigh_first)
    yield layer.lora_B[second].register_forward_hook(weigh_second)
