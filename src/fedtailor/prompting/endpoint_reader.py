"""Prompts scored by the endpoint of this machine's owner, in the place of the backbone: by likelihoods where it gives them, else by what it writes.

What it writes is held against each label by the F1 of their words: a label's score is the logarithm of that and a little more, so that the right
label alone gives a loss near 0, and an answer that names no label, or several, one in between.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import SettingError
from ..metrics.answers import answer_f1
from .endpoint import VARIABLE, Endpoint, own_endpoint
from .prompt import Prompt, prompt_from_json
from .reader import PromptReader
from .references import ReferenceReading
from .score import NEUTRAL, Behind, Score, checked_score

FLOOR = 0.01  # of an F1, so that it has a logarithm


@dataclass(frozen=True)
class EndpointReading:
    """A prompt behind which an endpoint scores labels, as `score.Reading` does by the backbone."""

    endpoint: Endpoint
    prompt: Prompt
    calibrate: bool

    tokens: int = field(default=0, init=False)  # that are computed here

    def tokens_of(self, texts: Sequence[str]) -> int:
        """Return how many tokens are computed here to score texts: none."""
        return 0

    def scores(self, texts: Sequence[str], *, batch: int = 16) -> list[list[float]]:
        """Return, for each text, one score a label: the higher, the likelier.

        Raises:
            EndpointError: if the endpoint gives nothing that can be used.
        """
        rows = [self._row(text) for text in texts]
        return [[value - offset for value, offset in zip(row, self._offsets, strict=True)] for row in rows]

    def score(self, examples: Sequence[tuple[str, str]], *, batch: int = 16) -> Score:
        """Return how well the labels fit texts; see `score.score_labels`."""
        return checked_score(self.prompt.labels, self.scores([text for text, _ in examples]), [label for _, label in examples])

    @cached_property
    def _offsets(self) -> list[float]:
        if not (self.calibrate and self.endpoint.gives_likelihoods):
            return [0.0] * len(self.prompt.labels)
        rows = [self._row(text) for text in NEUTRAL]
        return [sum(column) / len(rows) for column in zip(*rows, strict=True)]

    def _row(self, text: str) -> list[float]:
        before, labels = self.prompt.head() + self.prompt.tail(text), self.prompt.labels
        if self.endpoint.gives_likelihoods:
            return self.endpoint.likelihoods([(before, self.prompt.answer(label)) for label in labels])
        written = self.endpoint.ask([{"role": "user", "content": before}]).strip().splitlines()[0]
        return [math.log(answer_f1(written, [label]) + FLOOR) for label in labels]


@dataclass(frozen=True)
class EndpointReader:
    """Gives prompts to the endpoint of this machine's owner, as `reader.PromptReader` does to the backbone."""

    endpoint: Callable[[], Endpoint | None] = own_endpoint
    _kept: list[Endpoint] = field(default_factory=list)  # one for the process: its calls are counted

    def read(self, prompt: Prompt, *, calibrate: bool) -> EndpointReading:
        """Return the prompt as the endpoint is given it.

        Raises:
            SettingError: if this machine's owner names no endpoint, or for prompts that it cannot read.
        """
        if prompt.vectors:
            raise SettingError("a soft prompt is put into a model, and no endpoint takes it; write task.scored_by: backbone")
        if len(prompt.labels) < 2:
            raise SettingError(f"prompts for classes need at least two labels; found {list(prompt.labels)}.")
        if not self._kept:
            if (found := self.endpoint()) is None:
                raise SettingError(
                    f"task.scored_by: endpoint needs a language model on each machine: let the environment variable {VARIABLE} name a file with "
                    "url and model, or write scored_by: backbone"
                )
            self._kept.append(found)
        return EndpointReading(self._kept[0], prompt, calibrate)

    def references(self, prompt: Prompt) -> ReferenceReading:
        """Raise SettingError: an endpoint scores labels alone."""
        raise SettingError("an endpoint scores labels; free text is scored by the backbone")

    def behind(self, prompt: Prompt, examples: Sequence[tuple[str, str]], *, calibrate: bool, batch: int) -> Behind:
        """Raise SettingError: there are no vectors behind a text at an endpoint."""
        raise SettingError(
            "method: black-box puts vectors into a model, and no endpoint takes them; write task.scored_by: backbone"
        )

    def in_place(self, text: str, labels: Sequence[str], *, calibrate: bool) -> EndpointReading:
        """Return the prompt of a file `prompt.json`; an empty text stands for labels alone."""
        prompt = prompt_from_json(text) if text else Prompt(instruction="", labels=tuple(labels))
        return self.read(prompt, calibrate=calibrate)


def label_reader(task: Any, model: Any, tokenizer: Any) -> PromptReader | EndpointReader:
    """Return what scores labels behind prompts: the backbone, or the endpoint where the task says so."""
    return EndpointReader() if getattr(task, "scored_by", "") == "endpoint" else PromptReader(model, tokenizer)
