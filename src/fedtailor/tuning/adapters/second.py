"""Further LoRA adapters beside the first, on the same modules of a PEFT model.

The output of a module is W x plus the sum, over its active adapters, of (alpha / rank) B A x; PEFT computes it. A further adapter has a name of its
own and two factors a module, which are called MODULE.NAME_A.weight and MODULE.NAME_B.weight, where the first adapter's are called
MODULE.lora_A.weight and MODULE.lora_B.weight. So rules that look for lora_A and lora_B see the first alone. A classifier's head belongs to
the model, and there is one, whatever adapters there are.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ...chance import stream_seed, torch_draws
from ...errors import SettingError
from ..layers.flat import flatten_factors, plain_name
from .files import CONFIG, WEIGHTS, read_config, read_tensors
from .over_peft import ADAPTER, factor_scale, published_name, save_peft

NAME = re.compile(r"[a-z][a-z0-9]*")
TAKEN = (ADAPTER, "lora", "weight")  # names that would be mistaken for parts of other names


def add_adapter(
    model: nn.Module, name: str, *, rank: int, alpha: float, trained: bool, seed: int, dropout: float = 0.0
) -> Mapping[str, nn.Parameter]:
    """Put an adapter beside those that are there, active with them, and return its factors by stable name, sorted.

    Its weights are float32; A is drawn as PEFT draws it and B is zero, so nothing changes before training.

    Args:
        model: with LoRA in place, as `Lora.attach` returns it; it is changed in place.
        name: of the adapter, in small letters and digits.
        alpha: its product counts alpha / rank.
        trained: whether its factors require gradients. Those of the other weights stay as they are.
        seed: of the job; A depends on it and on `name` alone, and the global random state is left as it was.

    Raises:
        SettingError: if the name cannot be used, or the model has no plain LoRA.
    """
    tuned: Any = model
    if not NAME.fullmatch(name) or name in TAKEN or name in getattr(tuned, "peft_config", {}):
        raise SettingError(f"an adapter needs a name of its own in small letters and digits, got {name!r}; {TAKEN} are taken")
    layers = lora_layers(model)
    if not layers or any(layer.lora_variant.get(ADAPTER) for layer in layers.values()):
        raise SettingError(
            "a second adapter goes beside plain LoRA, and this model has none in place; choose tuning: lora, without variants"
        )
    active = _active(layers)
    first = tuned.peft_config[ADAPTER]
    # through the tuner and not `PeftModel.add_adapter`, which would give a classifier a second head
    tuner = tuned.base_model
    tuner.peft_config[name] = replace(
        first, r=rank, lora_alpha=alpha, lora_dropout=dropout, modules_to_save=None, init_lora_weights=True, inference_mode=False
    )
    with _gradients_kept(model), torch_draws(stream_seed(seed, f"tuning-{name}")):
        tuner.inject_adapter(tuner.model, name)
    flatten_factors(model, name)
    found = adapter_parameters(model, name)
    for parameter in found.values():
        parameter.data = parameter.data.float()
        parameter.requires_grad_(trained)
    activate(model, (*active, name))
    model.train(model.training)  # its dropout is as new
    return found


def adapter_parameters(model: nn.Module, name: str) -> Mapping[str, nn.Parameter]:
    """Return the factors of the adapter `name` by stable name, sorted; those of the first adapter if it is "default"."""
    wanted = re.compile(rf"(?P<module>.+)\.lora_(?P<side>[AB])\.{name}\.weight")
    prefix = "lora" if name == ADAPTER else name
    matches = ((wanted.fullmatch(plain_name(full)), parameter) for full, parameter in model.named_parameters())
    return dict(sorted((f"{m['module']}.{prefix}_{m['side']}.weight", parameter) for m, parameter in matches if m))


def activate(model: nn.Module, names: Collection[str]) -> None:
    """Let these adapters, and no others, take part in the forward pass; which weights require gradients stays as it is."""
    with _gradients_kept(model):
        for layer in lora_layers(model).values():
            layer.set_adapter(list(names))


def active_adapters(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the adapters that take part in the forward pass."""
    return _active(lora_layers(model))


def further_adapters(model: nn.Module) -> tuple[str, ...]:
    """Return the names of all adapters but the first, active or not."""
    tuned: Any = model
    return tuple(name for name in getattr(tuned, "peft_config", {}) if name != ADAPTER)


def save_active(model: nn.Module, folder: Path) -> None:
    """Write the adapters that are active as one plain LoRA in PEFT's format, whose output is that of the model as it is.

    An adapter that is active alone is written with its own rank and alpha. Several are joined: A stacked, B beside one another, each times its
    alpha / rank, and alpha of the whole equal to its rank. Of all but the first of them, trailing columns of B that are zero in every module
    are left out, and so is an adapter of zeros.
    """
    save_peft(model, folder)
    config: Any = model
    first, *others = active_adapters(model)
    used = [(first, config.peft_config[first].r), *((name, _columns_used(model, name)) for name in others)]
    used = [(name, rank) for name, rank in used if rank]
    if used == [(ADAPTER, config.peft_config[ADAPTER].r)]:
        return
    if len(used) > 1:
        rank = alpha = sum(rank for _, rank in used)
        parts = [_factors(model, name, rank, scaled=True) for name, rank in used]
    else:
        rank, alpha = config.peft_config[first].r, config.peft_config[first].lora_alpha
        parts = [_factors(model, first, rank, scaled=False)]
    tensors = read_tensors(folder / WEIGHTS)
    for module in parts[0]:
        for side, joined in (
            ("A", torch.cat([part[module][0] for part in parts])),
            ("B", torch.cat([part[module][1] for part in parts], 1)),
        ):
            written = tensors[f"{module}.lora_{side}.weight"].shape  # of a convolution a kernel
            shape = (rank, *written[1:]) if side == "A" else (written[0], rank, *written[2:])
            tensors[f"{module}.lora_{side}.weight"] = joined.reshape(shape)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS, metadata={"format": "pt"})
    config = {**read_config(folder), "r": rank, "lora_alpha": alpha}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _columns_used(model: nn.Module, name: str) -> int:
    """Return how many columns of B there are up to the last that is not zero in some module."""
    factors = adapter_parameters(model, name)
    filled = [(b.detach() != 0).any(0).nonzero() for full, b in factors.items() if full.endswith(f".{name}_B.weight")]
    return max((int(columns.max()) + 1 for columns in filled if len(columns)), default=0)


def _factors(model: nn.Module, name: str, rank: int, *, scaled: bool) -> dict[str, tuple[Tensor, Tensor]]:
    """Return each module's (A, B) on the CPU, cut to `rank`; B is multiplied with alpha / rank of the whole adapter if asked."""
    prefix = "lora" if name == ADAPTER else name
    factors, scale = adapter_parameters(model, name), factor_scale(model, name)
    found = {}
    for module in scale:
        a, b = (factors[f"{module}.{prefix}_{side}.weight"].detach().cpu() for side in "AB")
        found[module] = a[:rank], b[:, :rank] * (scale[module] if scaled else 1.0)
    return found


def _active(layers: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(next(iter(layers.values())).active_adapters)


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """Return PEFT's LoRA layers by the name of their module."""
    from peft.tuners.lora import LoraLayer

    return {published_name(name): module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@contextmanager
def _gradients_kept(model: nn.Module) -> Iterator[None]:
    """Undo what PEFT does to `requires_grad` of the parameters that are there already."""
    before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        yield
    finally:
        for parameter, required in before.items():
            parameter.requires_grad_(required)
