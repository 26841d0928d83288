"""LoRA in a model that holds several adapters: clients of another rank each have one, and a frozen one may be carried beside them.

The model and its backbone are in memory once. What a client trains is an adapter of its own rank, not one of the largest rank padded with zeros: so alpha / rank,
the optimizer and what is saved are those of that rank.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..interfaces import CARRIED
from ..tensors import Tensors
from .adapters.over_peft import ADAPTER, copy_into, factor_scale, restore_tensors
from .adapters.second import activate, adapter_parameters, add_adapter, lora_layers, save_active
from .lora import Lora
from .written import Written, written


@dataclass(frozen=True, kw_only=True)
class LoraAmong:
    """One adapter is trained, and what is carried, if anything, takes part in the forward pass with it."""

    tuning: Lora  # rank, alpha and all else of the adapter
    adapter: str = ADAPTER  # its name in the model
    carry: int = 0  # most rank of the frozen factor that is carried beside it; 0: none

    @property
    def kind(self) -> str:
        return self.tuning.kind

    @property
    def written(self) -> Written:
        return written(self.tuning)

    def attach(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model with the adapter, and what is carried, in place and active; what is carried is zero.

        Args:
            model: bare, or with other adapters in place; it is changed in place.
            seed: of the job.
        """
        found: Any = model
        tuned: Any = found if hasattr(found, "peft_config") else self.tuning.attach(model, seed)
        if self.adapter not in tuned.peft_config:
            own = self.tuning
            add_adapter(tuned, self.adapter, rank=own.rank, alpha=own.alpha, trained=True, seed=seed, dropout=own.dropout)
        if self.carry and CARRIED not in tuned.peft_config:
            rank = min(self.carry, _most_rank(tuned))
            for factor in add_adapter(tuned, CARRIED, rank=rank, alpha=rank, trained=False, seed=seed).values():
                factor.data.zero_()
        self._activate(tuned)
        whole: nn.Module = tuned
        return whole

    def parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """Return the trained parameters by the names of the first adapter, sorted; the head is the model's."""
        first = adapter_parameters(model, ADAPTER)
        head = {name: value for name, value in self.tuning.parameters(model).items() if name not in first}
        own = adapter_parameters(model, self.adapter)
        prefix = "lora" if self.adapter == ADAPTER else self.adapter
        return dict(sorted({**head, **{_as_first(name, prefix): value for name, value in own.items()}}.items()))

    def scale(self, model: nn.Module) -> Mapping[str, float]:
        """Return alpha / rank by name of the adapted module, sorted."""
        return factor_scale(model, self.adapter)

    def exchanged(self, model: nn.Module) -> Tensors:
        """Return the trained weights and what is carried, sorted."""
        return self._received(model)

    def receive(self, model: nn.Module, tensors: Tensors) -> None:
        """Put what came into place, and let this adapter take part instead of any other."""
        self._activate(model)
        with torch.no_grad():
            copy_into({name: p for name, p in self._received(model).items() if name in tensors}, tensors)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the trained and the carried factors as one plain adapter of PEFT's; see `save_active`."""
        self._activate(model)
        save_active(model, folder)

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy the adapter in `folder`, of this rank and with nothing carried, into the model.

        Raises:
            SettingError: if the folder is missing, unreadable or holds an adapter of another shape.
        """
        restore_tensors(self.parameters(model), folder)

    def _received(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        carried = adapter_parameters(model, CARRIED) if self.carry else {}
        return dict(sorted({**self.parameters(model), **carried}.items()))

    def _activate(self, model: nn.Module) -> None:
        activate(model, (self.adapter, CARRIED) if self.carry else (self.adapter,))


def _most_rank(model: nn.Module) -> int:
    """Return the largest rank that an adapted weight can have: more would be carried as zeros."""
    return max(int(min(layer.in_features, layer.out_features)) for layer in lora_layers(model).values())


def _as_first(name: str, prefix: str) -> str:
    module, factor, weight = name.rsplit(".", 2)
    return f"{module}.lora{factor.removeprefix(prefix)}.{weight}"


def take_part(tuning: Any, model: nn.Module, seed: int) -> None:
    """Let the weights of `tuning` take part in the place of other clients', where several tunings share a model."""
    if isinstance(tuning, LoraAmong):
        tuning.attach(model, seed)
