"""How many tokens fit into a model's context beside the positions that a prefix or prompt takes in front of every text."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ...errors import SettingError
from ..shard import Shard, tokens_of
from .positions import measure_context

LENGTHS = ("block", "max_tokens")  # settings of tasks that bound an example
MEASURED = "context_tokens"  # the attribute of a model that keeps what was measured


def context(model: Any) -> int:
    """Return how many tokens the model can look at together; measured once."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if MEASURED not in vars(base):
        vars(base)[MEASURED] = measure_context(base)
    return int(vars(base)[MEASURED])


def places_in_front(model: Any) -> int:
    """Return how many positions of the context PEFT's prefix or prompt tuning takes; 0 for every other model."""
    settings: Any = getattr(model, "active_peft_config", None)
    return int(settings.num_virtual_tokens) if getattr(settings, "is_prompt_learning", False) else 0


def check_lengths(model: nn.Module, task: object, shards: Iterable[Shard] = (), *, of: str = "") -> None:
    """Check that each example of the shards fits into the model's context, and at least one token behind what stands in front.

    Args:
        task: its setting that bounds an example is named as a way out.
        of: whose examples they are.

    Raises:
        SettingError: if they do not.
    """
    front, whole = places_in_front(model), context(model)
    longest = max((int(shard.sizes_N.max()) for shard in shards if len(shard)), default=1)
    if front + longest <= whole:
        return
    bound = next((name for name in LENGTHS if hasattr(task, name)), None)
    if not front:
        setting = f"task.{bound}: {getattr(task, bound)}" if bound else "the data"
        way = f"set task.{bound} to {whole} at most" if bound else "shorten the examples"
        raise SettingError(
            f"{setting} lets the longest example{of and ' of ' + of} have {longest} tokens, and the model's context has {whole}; {way}, "
            "or choose a backbone with a longer context"
        )
    ways = [f"set tuning.length to {whole - longest} at most"] if longest < whole else []
    if bound and longest > 1 and whole - front > 1:  # these settings are at least 2
        ways.append(f"task.{bound} to {whole - front} at most")
    raise SettingError(
        f"tuning.length: {front} positions in front of each text and {longest} for {'the longest' if longest > 1 else 'at least one token'} make "
        f"{front + longest}, and the model's context has {whole}; {' or '.join(ways) or f'set tuning.length and task.{bound} lower, together {whole} at most'}"
    )


def long_prompts(shards: Iterable[Shard], room: int) -> int:
    """Return how many examples have more than `room` tokens before their first target, so that their text is written after the rest alone."""
    count = 0
    for shard in map(tokens_of, shards):
        first_N = torch.repeat_interleave(torch.arange(len(shard)), shard.sizes_N)[~shard.target_T]
        count += int((torch.bincount(first_N, minlength=len(shard)) > room).sum()) if len(shard) else 0
    return count
