"""Whether what a tuning trains fits into memory, while it is put in place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules import module as hooks

from ..errors import SettingError
from ..learning.local import LocalTraining
from ..ledger import free_memory
from ..tuning.asked import sizes_said


@contextmanager
def within_memory(tuning: object, local: LocalTraining, device: torch.device) -> Iterator[None]:
    """Let a tuning be put in place inside the block as long as what it trains fits into the memory that is free.

    Each weight is counted with its gradient and the optimizer's moments, in float32, as it is made: most of that is not there yet.

    Raises:
        SettingError: naming the settings that its size follows from.
    """
    each = 4 * (4 if local.optimizer == "adamw" else 3 if local.momentum else 2)
    free, made = free_memory(device), 0

    def weigh(_: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal made
        made += 0 if parameter is None or not parameter.requires_grad else parameter.numel()
        if made * each > free:
            raise SettingError(
                f"tuning {getattr(tuning, 'kind', '')} ({sizes_said(tuning) or 'of this size'}) trains more than {made:,} weights, which take "
                f"{made * each / 1e9:.1f} GB with gradients and optimizer, and {free / 1e9:.1f} GB of memory are free; choose a smaller one"
            )

    handle = hooks.register_module_parameter_registration_hook(weigh)
    try:
        yield
    finally:
        handle.remove()
