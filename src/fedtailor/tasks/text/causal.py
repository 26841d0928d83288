"""The loss of models that predict the next token."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..shard import Batch, one_by_one
from ..task import LogitsAt, padding_of

# B sequences, L tokens of the longest, N counted targets of the batch, V vocabulary


def causal_loss(model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, int]:
    """Return the float32 sum of -log p(token | those before) over the counted targets, and their number."""
    logits_NV, target_N = causal_scores(model, batch, logits_at)
    return F.cross_entropy(logits_NV, target_N, reduction="sum"), target_N.numel()


def causal_scores(model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, Tensor]:
    """Return the float32 logits [N, V] over the next token at the counted targets, and these [N]; rows in order, then positions in a row.

    The logits at position i predict the token at i + 1, and are computed only where that token is counted. A target in the first
    position of a sequence has nothing before it and is never counted. A model that bears no padding sees one sequence at a time.
    """
    if padding_of(model) == "none":
        each = [_scores(model, row, logits_at) for row in one_by_one(batch)]
        return torch.cat([logits_NV for logits_NV, _ in each]), torch.cat([target_N for _, target_N in each])
    return _scores(model, batch, logits_at)


def _scores(model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, Tensor]:
    target_BL = batch.target_BL[:, 1:]
    before_BL = torch.zeros_like(batch.target_BL)
    before_BL[:, :-1] = target_BL
    target_N = batch.input_ids_BL[:, 1:][target_BL]
    with logits_at(model, before_BL):
        output = model(input_ids=batch.input_ids_BL, attention_mask=batch.attention_mask_BL, use_cache=False)
    logits_NV: Tensor = output.logits.float()  # float32: sums over a whole vocabulary lose too much in bfloat16
    return logits_NV, target_N
