"""The client's part of prompting: it scores prompts on examples of its own."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...chance import stream
from ...interfaces import Answer
from ...learning.client import Client
from ...learning.worker import OnStep, Worker
from ...messages import Record, answer
from ...prompting import Prompt, prompt_from_json
from ...prompting import Score as Sums
from ...prompting.shots import of_many_labels, with_own
from ...records import Message
from ...tasks.shard import Shard
from ...tensors import Tensors
from ...tuning import bytes_tensor, tensor_text
from ...tuning.none import TENSOR
from ..evaluation import Evaluate, Evaluated, answer_evaluation
from .messages import VALIDATION, Scored


class Prompted(Protocol):
    """A task whose model reads a prompt in front of each text."""

    @property
    def words(self) -> tuple[str, ...]:
        """The labels; none for free text."""

    @property
    def max_tokens(self) -> int:
        """Of a text."""

    @property
    def calibrate(self) -> bool:
        """Whether from each label's likelihood is taken what it has behind texts that say nothing."""

    @property
    def scored_by(self) -> str:
        """Who scores: backbone or endpoint."""

    def pairs(self, shard: Shard, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Return text and right answer of the examples numbered `rows`."""

    def reading(self, worker: Any, prompt: Prompt) -> Any:
        """Return a prompt as the worker's model has read it: `score(pairs, batch=...)`, `tokens`, `tokens_of(texts)`."""

    def answer_lengths(self, tokenizer: Any) -> list[int]:
        """Return the tokens of each label, or those that an answer may have."""


@dataclass(kw_only=True)
class Scoring:
    """One client's examples and model, for methods to score candidates with."""

    task: Prompted
    client: Client
    few: int  # least examples that a sum may be over
    on_step: OnStep | None = None
    began: float = field(default_factory=time.perf_counter)

    @property
    def worker(self) -> Worker:
        """What the client works with."""
        return self.client.worker

    def examples(self, most: int, part: int = 0, *, shown: int = 0) -> list[tuple[str, str]]:
        """Return text and label of the first `most` of the client's one order, so that those of a round are among those of a larger one.

        Args:
            shown: so many of its training examples stand in prompts; these are scored by none of them.
        """
        shard = self.client.validation if part == VALIDATION else self.client.train
        left_out = set(self._shown(shown)) if part != VALIDATION else set()
        order = [row for row in self._order(shard) if row not in left_out]
        return self.task.pairs(shard, sorted(order[:most]))

    def own_shots(self, count: int) -> list[tuple[str, str]]:
        """Return so many training examples of the client, of as many labels as there can be, or fewer where it has not twice as many."""
        return [pair for row in self._shown(count) for pair in self.task.pairs(self.client.train, [row])]

    def _shown(self, count: int) -> list[int]:
        if not count:
            return []
        last = self._order(self.client.train)[::-1][: 64 * count]  # the others are scored first
        labels = [label for _, label in self.task.pairs(self.client.train, last)]
        return of_many_labels(list(zip(last, labels, strict=True)), min(count, len(self.client.train) // 2))

    def _order(self, shard: Shard) -> list[int]:
        found: list[int] = stream(self.worker.seed, "scored-examples", 0, self.client.id).permutation(len(shard)).tolist()
        return found

    def scored(
        self,
        candidates: Sequence[Any],
        examples: Sequence[tuple[str, str]],
        score: Callable[[Any], tuple[Sums, int]],
        *,
        version: int,
    ) -> Scored:
        """Return each candidate's sums over the examples; those of a client that has too few are withheld.

        Args:
            score: gives a candidate's sums, and the tokens that a client computes for it.
        """
        if len(examples) < self.few:
            return Scored(version=version, scored=0, forward_tokens=0, seconds=time.perf_counter() - self.began)
        measured = self.worker.peak.reset()
        sums, tokens = [], 0
        for number, candidate in enumerate(candidates, start=1):
            with self.worker.precision():
                found, spent = score(candidate)
            sums.append(found)
            tokens += spent
            if self.on_step:
                self.on_step(number, len(candidates), found.loss)
        return Scored(
            version=version,
            scored=len(examples),
            loss_sums=[one.loss_sum for one in sums],
            right=[one.right for one in sums],
            forward_tokens=tokens,
            seconds=time.perf_counter() - self.began,
            peak_bytes=self.worker.peak.read() if measured else None,
        )


@dataclass(frozen=True, kw_only=True)
class PromptingClient:
    """Answers what its method asks with sums over its own examples, "evaluate" with figures."""

    handlers: Callable[[Scoring], Mapping[type[Record], Callable[[Any], Record]]]
    task: Prompted
    few: int
    client: Client
    on_step: OnStep | None = None

    def answer(self, message: Message) -> Answer:
        """Return the reply to one message."""
        scoring = Scoring(task=self.task, client=self.client, few=self.few, on_step=self.on_step)
        return answer(message, {**self.handlers(scoring), Evaluate: self._evaluate})

    def _evaluate(self, asked: Evaluate) -> Evaluated:
        self.client.worker.load(self._with_own(asked.shared))
        return answer_evaluation(self.client, asked)

    def _with_own(self, shared: Tensors) -> Tensors:
        """Return the prompt that is evaluated with the client's own examples, where it asks for them."""
        text = tensor_text(shared[TENSOR])
        prompt = prompt_from_json(text, "a prompt that came") if text else None
        if prompt is None or not prompt.own_shots:
            return shared
        own = Scoring(task=self.task, client=self.client, few=self.few).own_shots(prompt.own_shots)
        return {TENSOR: bytes_tensor(with_own(prompt, own).to_json())}
