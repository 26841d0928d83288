"""How many tokens fit into a model's context beside the places that a prefix or prompt takes in front of every text."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from ..errors import SettingError
from .shard import Shard

LENGTHS = ("block", "max_tokens")  # settings of tasks that bound an example


def context(model: Any) -> int:
    """Return how many tokens the model can look at together."""
    return int(getattr(model.config, "max_position_embeddings", None) or 1 << 20)


def places_in_front(model: Any) -> int:
    """Return how many places of the context PEFT's prefix or prompt tuning takes; 0 for every other model."""
    settings: Any = getattr(model, "active_peft_config", None)
    return int(settings.num_virtual_tokens) if getattr(settings, "is_prompt_learning", False) else 0


def check_front(model: nn.Module, task: object, shards: Iterable[Shard] = ()) -> None:
    """Check that the places in front fit into the model's context with each example of the shards, and at least with one token.

    Args:
        task: its setting that bounds an example is named as another way out.

    Raises:
        SettingError: if they do not.
    """
    front, whole = places_in_front(model), context(model)
    longest = max((int(shard.lengths_N.max()) for shard in shards if len(shard)), default=1)
    if not front or front + longest <= whole:
        return
    ways = [f"set tuning.length to {whole - longest} at most"] if longest < whole else []
    bound = next((name for name in LENGTHS if hasattr(task, name)), None)
    if bound and longest > 1 and whole - front > 1:  # these settings are at least 2
        ways.append(f"task.{bound} to {whole - front} at most")
    raise SettingError(
        f"tuning.length: {front} places in front of each text and {longest} for {'the longest' if longest > 1 else 'at least one token'} make "
        f"{front + longest}, and the model's context has {whole}; {' or '.join(ways) or f'set tuning.length and task.{bound} lower, together {whole} at most'}"
    )
