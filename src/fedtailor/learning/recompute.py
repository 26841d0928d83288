"""Activations that are computed again in the backward pass, in the place of being kept.

Source: Chen et al., 2016, arXiv:1604.06174; a block of the model keeps its input alone. The values are the same: dropout is drawn
again from the same stream. One forward pass more is computed for each step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..chance import seed_torch
from ..errors import SettingError
from ..tasks.shard import Shard
from .worker import Worker

SETTING = "protocol.local.checkpointing"


@contextmanager
def recomputing(model: nn.Module, wanted: bool = True) -> Iterator[None]:
    """Let the blocks of a model compute their activations again in the backward pass, inside the block; in training mode alone."""
    blocks: list[Any] = [module for module in model.modules() if hasattr(module, "gradient_checkpointing")] if wanted else []
    before = [(block, block.gradient_checkpointing, getattr(block, "_gradient_checkpointing_func", None)) for block in blocks]
    for block in blocks:
        block.gradient_checkpointing, block._gradient_checkpointing_func = True, _again
    try:
        yield
    finally:
        for block, was, function in before:
            block.gradient_checkpointing, block._gradient_checkpointing_func = was, function


def check_recomputing(worker: Worker, shard: Shard) -> None:
    """Try it on one example: the loss and the gradients must be those of the plain computation.

    Raises:
        SettingError: if they are not, or the model has no blocks that do it.
    """
    if not any(hasattr(module, "gradient_checkpointing") for module in worker.model.modules()):
        raise SettingError(
            f"{SETTING} is true, and this backbone has no blocks that can compute their activations again; leave it out"
        )
    plain = _gradients(worker, shard, wanted=False)
    try:
        again = _gradients(worker, shard, wanted=True)
    except RuntimeError:  # of shapes: what stood in the cache is gone
        again = []
    if len(plain) != len(again) or not all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(plain, again, strict=True)):
        raise SettingError(
            f"{SETTING} does not go with tuning: {worker.tuning.kind} on this backbone: recomputed activations give another loss (a prefix, which "
            "stands in the cache, is lost); leave it out, or choose another tuning such as lora"
        )


def _gradients(worker: Worker, shard: Shard, *, wanted: bool) -> list[torch.Tensor]:
    """Return the loss on the first example, and the gradients of what is trained."""
    mode, params = worker.model.training, list(worker.params.values())
    worker.model.train()
    try:
        with (
            recomputing(worker.model, wanted),
            torch.random.fork_rng(devices=[worker.device] if worker.device.type == "cuda" else []),
        ):
            seed_torch(0, worker.device)
            loss, _ = worker.loss(worker.batch(shard, [0]))
            return [loss.detach(), *(g for g in torch.autograd.grad(loss, params, allow_unused=True) if g is not None)]
    finally:
        worker.model.train(mode)


def _again(function: Any, *arguments: Any, **named: Any) -> Any:
    from torch.utils.checkpoint import checkpoint

    return checkpoint(function, *arguments, use_reentrant=False, **named)
