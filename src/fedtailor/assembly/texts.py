"""What becomes of a job's texts on the way to tokens, reported before anything is done."""

from dataclasses import dataclass, field, fields
from typing import Any

from ..job import Job
from ..models.kinds import kind_of
from ..tasks import Task
from ..tasks.asked import clock_of, speaks_chat
from ..tasks.shard import Shard, tokens_of
from ..tasks.text.chat import writes_time
from ..tasks.text.room import long_prompts
from .fits import Warn

PARTS = ("train", "validation", "test")
LOSES = {"start": "beginning", "end": "end"}


@dataclass(kw_only=True)
class Losses:
    """What the texts of one part lose."""

    examples: int = 0
    cut: int = 0  # examples that are too long
    lost: int = 0  # tokens of these
    kept: int = 0  # tokens of all


@dataclass(kw_only=True)
class ReadTexts:
    """How many examples are too long, how many tokens they lose, and in how many markers are text: counted shard by shard."""

    task: Task
    room: int | None  # most tokens of a prompt that a text is written behind; None where none is written
    parts: dict[str, Losses] = field(default_factory=lambda: {part: Losses() for part in PARTS})
    marked: int = 0  # examples that hold the spelling of a special token
    without_room: int = 0  # prompts of evaluation sets that are longer than `room`

    def read(self, **shards: Shard) -> None:
        """Count the texts of some parts; what holds no texts is passed over."""
        if not kind_of(self.task.backbone).of_texts:
            return
        for part, shard in shards.items():
            found, tokens = self.parts[part], tokens_of(shard)
            found.examples += len(tokens)
            found.kept += int(tokens.sizes_N.sum())
            self.marked += tokens.marked
            if tokens.cut_N is not None and len(tokens.cut_N):
                found.cut += int((tokens.cut_N > 0).sum())
                found.lost += int(tokens.cut_N.sum())
            if self.room is not None and part != "train":
                self.without_room += long_prompts([tokens], self.room)

    def report(self, warn: Warn) -> None:
        """Say what was found, and at which end texts are cut."""
        if any(found.cut for found in self.parts.values()):
            warn(self._cut_text())
        if self.marked:
            warn(
                f"{self.marked} examples hold the spelling of a special token (such as an end-of-text token): in data it is text, and read as such"
            )
        if self.without_room:
            warn(
                f"{self.without_room} prompts of evaluation sets have more than {self.room} tokens, which is what the model's context leaves beside "
                "evaluation.generate.max_new_tokens: what is written for them goes by their end alone; lower max_new_tokens or task.max_tokens"
            )

    def _cut_text(self) -> str:
        settings: Any = self.task
        every = self.parts.values()
        count, lost, kept = (sum(getattr(part, name) for part in every) for name in ("cut", "lost", "kept"))
        parts = ", ".join(f"{own.cut:,} of {own.examples:,} {part}" for part, own in self.parts.items() if own.cut)
        examples = "1 example is" if count == 1 else f"{count:,} examples are"
        other = ", or task.truncate to start, end or drop" if "truncate" in (setting.name for setting in fields(settings)) else ""
        return (
            f"{examples} longer than task.max_tokens = {settings.max_tokens} ({parts}), and cut at the {LOSES[settings.truncate]} of the input: "
            f"{lost:,} of {kept + lost:,} tokens are left out; set task.max_tokens higher{other}"
        )


def report_clock(job: Job, task: Task, tokenizer: Any, warn: Warn) -> None:
    """Report that the chat template writes the date, unless the job names the moment."""
    settings: Any = task
    if speaks_chat(task) and writes_time(tokenizer) and clock_of(job.task) is None:
        warn(
            f"the backbone's chat template writes the date and time into prompts: in this run always {settings.clock}; for the same bits on another "
            f"day set task.clock={settings.clock}"
        )


def report_unused(task: Task, warn: Warn) -> None:
    """Report a template of the job's that nothing is written with."""
    settings: Any = task
    if speaks_chat(task) and settings.template != type(settings).template:
        warn(
            "task.template is not used: with task.chat: true the backbone's own chat template writes the examples; leave one of both out"
        )
