"""Where training begins: as the backbone, or elsewhere, since what a tuning puts in place may change its answers at once."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

PROBE = (5, 7, 3, 6, 4)  # tokens that every vocabulary has


def first_answer(model: nn.Module) -> Tensor:
    """Return float32 logits for a text of a few tokens."""
    device = next(model.parameters()).device
    ids_BL = torch.tensor([PROBE], device=device)
    with torch.inference_mode(), _precision(model, device):
        logits: Tensor = model(input_ids=ids_BL, attention_mask=torch.ones_like(ids_BL)).logits.float()
    return logits.clone()


def _precision(model: nn.Module, device: torch.device) -> AbstractContextManager[Any]:
    half = any(parameter.dtype == torch.bfloat16 for parameter in model.parameters())
    return torch.autocast(device.type, dtype=torch.bfloat16) if half else nullcontext()


def weight_sums(model: nn.Module, *, only: Mapping[nn.Parameter, float] | None = None) -> dict[nn.Parameter, float]:
    """Return the sum of each parameter, by which one finds out whether something changed it.

    Args:
        only: parameters to look at; left out: all.
    """
    parameters = model.parameters() if only is None else only
    return {parameter: float(parameter.detach().sum(dtype=_widest(parameter.device))) for parameter in parameters}


def _widest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no float64


def begin_elsewhere(model: nn.Module) -> nn.Module:
    """Mark a model whose tuning changes its answers before any training, and return it."""
    vars(model)["begins_elsewhere"] = True
    return model


def begins_elsewhere(model: nn.Module) -> bool:
    """Return whether a model's tuning changes its answers before any training."""
    return bool(getattr(model, "begins_elsewhere", False))


def keeps_weights(model: nn.Module) -> bool:
    """Return whether the weights of the backbone below a tuning are those of its file."""
    return not getattr(model, "weights_changed", False)


@contextmanager
def untrained(model: nn.Module) -> Iterator[nn.Module]:
    """Give the backbone below a tuning that PEFT computes, with a classifier's head as it was drawn; the tuning is back behind the block."""
    tuned: Any = model
    if tuned.active_peft_config.is_prompt_learning:  # what stands in front of the text is no part of the model below
        yield tuned.get_base_model()
        return
    with tuned.disable_adapter():
        yield tuned
