"""The output head, computed only where a target is: with 49,152 tokens it is a large share of a small model's step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import BackboneError

# B sequences, L tokens, H hidden width, V vocabulary, N selected positions


@contextmanager
def logits_at(model: nn.Module, target_BL: Tensor) -> Iterator[None]:
    """Let the model's output head compute logits only where `target_BL` is True, inside the block.

    The `logits` of the model's output are then [N, V], N = target_BL.sum(), in the order of rows, then of positions in a row.

    Args:
        model: a transformers model with an output head, or a PEFT model around one; its head may be tied.
        target_BL: bool, on the model's device. The logits at position i speak of token i + 1.

    Raises:
        BackboneError: if the model has no output head, or passes it hidden states of another shape.
    """
    head = output_head(model)
    target_BL = F.pad(target_BL, (vectors_in_front(model), 0))
    rows_N = target_BL.reshape(-1).nonzero().squeeze(1)

    def select(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden_BLH = inputs[0]
        if hidden_BLH.shape[:2] != target_BL.shape:
            raise BackboneError(
                f"logits were asked for at positions of a batch of shape {tuple(target_BL.shape)}, but the model passes hidden "
                f"states of shape {tuple(hidden_BLH.shape)} to its head"
            )
        # index_select on rows: its backward adds rows in order, so the same bits come each time
        return (hidden_BLH.reshape(-1, hidden_BLH.shape[-1]).index_select(0, rows_N), *inputs[1:])

    handle = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


def vectors_in_front(model: nn.Module) -> int:
    """Return how many positions PEFT puts before the text's own: those of a prompt pass through the head, a prefix's do not."""
    settings = getattr(model, "active_peft_config", None)
    if not getattr(settings, "is_prompt_learning", False) or getattr(settings, "peft_type", "") == "PREFIX_TUNING":
        return 0
    return int(getattr(settings, "num_virtual_tokens", 0))


def output_head(model: nn.Module) -> nn.Module:
    """Return the module that turns hidden states into logits, found through PEFT's wrappers.

    Raises:
        BackboneError: if there is none.
    """
    inner: Any = model
    if hasattr(inner, "get_base_model"):
        inner = inner.get_base_model()
    head = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    if not isinstance(head, nn.Module):
        raise BackboneError(f"a {type(inner).__name__} has no output head over tokens; is the task one for language models?")
    return head
