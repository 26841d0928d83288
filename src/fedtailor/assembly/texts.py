"""What becomes of a job's texts on the way to tokens, reported before anything is done."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import torch

from ..job import Job
from ..learning.client import ClientState
from ..models.kinds import kind_of
from ..records import ClientId
from ..tasks import Task
from ..tasks.shard import Shard, tokens_of
from ..tasks.text.chat import writes_time
from ..tasks.text.room import long_prompts
from .fits import Warn

PARTS = ("train", "validation", "test")
LOSES = {"start": "beginning", "end": "end"}


def report_cut(
    task: Task, states: Mapping[ClientId, ClientState], files: Mapping[str, Shard], room: int | None, warn: Warn
) -> None:
    """Report how many examples are too long, how many tokens they lose, and at which end; and in how many markers are text.

    Args:
        files: public examples by their part.
        room: most tokens of a prompt that a text is written behind; None where none is written.
    """
    if not kind_of(task.backbone).of_texts:
        return
    shards = {
        part: [*(getattr(state, part) for state in states.values()), *([files[part]] if part in files else [])] for part in PARTS
    }
    everything = [shard for part in shards.values() for shard in part]
    cut = {part: _cut(found) for part, found in shards.items()}
    if any(cut_ for cut_, _ in cut.values()):
        warn(_cut_text(task, shards, cut))
    if marked := sum(shard.marked for shard in map(tokens_of, everything)):
        warn(
            f"{marked} examples hold the spelling of a special token (such as an end-of-text token): in data it is text, and read as such"
        )
    if room is not None and (count := long_prompts((*shards["validation"], *shards["test"]), room)):
        warn(
            f"{count} prompts of evaluation sets have more than {room} tokens, which is what the model's context leaves beside "
            "evaluation.generate.max_new_tokens: what is written for them goes by their end alone; lower max_new_tokens or task.max_tokens"
        )


def report_clock(job: Job, task: Task, tokenizer: Any, warn: Warn) -> None:
    """Report that the chat template writes the date, unless the job names the moment."""
    settings: Any = task
    if getattr(task, "chat", False) and writes_time(tokenizer) and getattr(job.task, "clock", None) is None:
        warn(
            f"the backbone's chat template writes the date and time into prompts: in this run always {settings.clock}; for the same bits on another "
            f"day set task.clock={settings.clock}"
        )


def report_unused(task: Task, warn: Warn) -> None:
    """Report a template of the job's that nothing is written with."""
    settings: Any = task
    if getattr(task, "chat", False) and settings.template != type(settings).template:
        warn(
            "task.template is not used: with task.chat: true the backbone's own chat template writes the examples; leave one of both out"
        )


def _cut(shards: Iterable[Shard]) -> tuple[int, int]:
    """Return how many examples lose tokens, and how many tokens."""
    found = [shard.cut_N for shard in map(tokens_of, shards) if shard.cut_N is not None and len(shard.cut_N)]
    lost = torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)
    return int((lost > 0).sum()), int(lost.sum())


def _cut_text(task: Task, shards: Mapping[str, list[Shard]], cut: Mapping[str, tuple[int, int]]) -> str:
    settings: Any = task
    kept = sum(int(shard.sizes_N.sum()) for part in shards.values() for shard in part)
    count, tokens = (sum(column) for column in zip(*cut.values(), strict=True))
    parts = ", ".join(f"{cut[part][0]:,} of {sum(map(len, found)):,} {part}" for part, found in shards.items() if cut[part][0])
    examples = "1 example is" if count == 1 else f"{count:,} examples are"
    other = ", or task.truncate to start, end or drop" if "truncate" in (field.name for field in fields(settings)) else ""
    return (
        f"{examples} longer than task.max_tokens = {settings.max_tokens} ({parts}), and cut at the {LOSES[settings.truncate]} of the input: "
        f"{tokens:,} of {kept + tokens:,} tokens are left out; set task.max_tokens higher{other}"
    )
