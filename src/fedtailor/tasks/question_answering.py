"""The task of answering questions from documents that are found: clients have documents, files of validation and test hold questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch

from ..errors import SettingError
from ..pairs import Need
from ..records import Example
from ..text_files import expanded
from .evaluation import Measured, Pass
from .losses import Losses
from .shard import Shard, TokenShard
from .task import Bench, Objective
from .text.tokenization import text_of

NO_READER = "none"


@dataclass(frozen=True, kw_only=True)
class Span:
    """A reader that a run has trained: it marks the answer in the passages."""

    run: str  # folder of a run of task: extraction
    kind: Literal["span"] = "span"


@dataclass(frozen=True, kw_only=True)
class QuestionAnswering:
    """Questions are answered from passages that were found; clients measure nothing of it, the protocol does."""

    needs: ClassVar[Sequence[Need]] = (
        Need(word="documents", remedy="choose protocol: retrieval, or a task that trains, such as task: generation"),
    )
    kind: Literal["question-answering"] = "question-answering"
    reader: str | Span = "best-sentence"  # or a causal backbone such as smollm2-135m, {kind: span, run: RUN}, or none

    required: ClassVar[tuple[str, ...]] = ("text",)  # of a document
    optional: ClassVar[tuple[str, ...]] = ("id", "title")
    public: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "required": ("question",),
        "optional": ("answers", "answer", "passage_id"),
        "context": (),
    }
    context: ClassVar[tuple[str, ...]] = ()
    running: ClassVar[bool] = False
    whole: ClassVar[bool] = True
    backbone: ClassVar[str] = "embedder"
    metrics: ClassVar[tuple[str, ...]] = ("loss",)
    default_metrics: ClassVar[tuple[str, ...]] = ()
    figures: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not self.reader or not isinstance(self.reader, str | Span):
            raise SettingError(
                f"reader is best-sentence, the name of a causal backbone, {{kind: span, run: RUN}}, or none; got {self.reader!r}"
            )

    def resolve(self, examples: Sequence[Example], base: Path) -> Self:
        """Return the task with the run of its reader as a whole path.

        Raises:
            SettingError: if there is no such run.
        """
        if isinstance(self.reader, str):
            return self
        run = expanded(base, self.reader.run, "task.reader.run")
        if not (run / "job.yaml").is_file():
            raise SettingError(f"task.reader.run: {run} is no folder of a run; name one of task: extraction")
        return replace(self, reader=replace(self.reader, run=str(run)))

    @property
    def reads(self) -> str:
        """The reader's name, or the folder of its run."""
        return self.reader if isinstance(self.reader, str) else self.reader.run

    def labels_of(self, examples: Sequence[Example], base: Path = Path()) -> tuple[str, ...]:
        """Return nothing: there are no classes."""
        return ()

    def prepare(self, examples: Sequence[Example], tokenizer: Any, *, keep_examples: bool) -> TokenShard:
        """Return documents or questions themselves, which are always kept; an index cuts documents into passages, so none is too long here."""
        has_text = [bool(text_of(example, self._text(example)).strip()) for example in examples]
        kept = [example for example, has in zip(examples, has_text, strict=True) if has]
        return TokenShard(
            tokens_T=torch.zeros(len(kept), dtype=torch.int32),
            target_T=torch.zeros(len(kept), dtype=torch.bool),
            starts=torch.arange(len(kept) + 1),
            examples=tuple(kept),
            dropped=tuple((example.id, "its text is empty") for example, has in zip(examples, has_text, strict=True) if not has),
        )

    def batch(self, worker: Bench, shard: Shard, rows: Sequence[int]) -> Any:
        """Raise SettingError: nothing is trained on this task."""
        raise SettingError("task: question-answering trains nothing; choose protocol: retrieval")

    def objectives(self, worker: Bench) -> Sequence[Objective]:
        """Return nothing: the weights stay as they are."""
        return ()

    def losses(self, worker: Bench, shard: Shard, how: Pass) -> Losses:
        """Raise SettingError: there is no loss."""
        raise SettingError("task: question-answering has no loss; choose protocol: retrieval")

    def measure(self, worker: Bench, shard: Shard, how: Pass) -> Measured:
        """Return nothing: what is found is measured where it is asked for."""
        return Measured(figures={})

    def _text(self, example: Example) -> str:
        return "question" if "question" in example.fields else "text"
