"""The client's part of prompting: it scores prompts on examples of its own."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...chance import stream
from ...interfaces import Answer
from ...learning.client import Client
from ...learning.worker import OnStep, Worker
from ...messages import Record, answer
from ...prompting import Score as Sums
from ...records import Message
from ...tasks import LabelLikelihood
from ..evaluation import Evaluate, Evaluated, answer_evaluation
from .messages import VALIDATION, Scored


@dataclass(kw_only=True)
class Scoring:
    """One client's examples and model, for methods to score candidates with."""

    task: LabelLikelihood
    client: Client
    few: int  # least examples that a sum may be over
    on_step: OnStep | None = None
    began: float = field(default_factory=time.perf_counter)

    @property
    def worker(self) -> Worker:
        """What the client works with."""
        return self.client.worker

    def examples(self, most: int, part: int = 0) -> list[tuple[str, str]]:
        """Return text and label of the first `most` of the client's one order, so that those of a round are among those of a larger one."""
        shard = self.client.validation if part == VALIDATION else self.client.train
        order = stream(self.worker.seed, "scored-examples", 0, self.client.id).permutation(len(shard))
        return self.task.pairs(shard, sorted(order[:most].tolist()))

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
    task: LabelLikelihood
    few: int
    client: Client
    on_step: OnStep | None = None

    def answer(self, message: Message) -> Answer:
        """Return the reply to one message."""
        scoring = Scoring(task=self.task, client=self.client, few=self.few, on_step=self.on_step)
        return answer(message, {**self.handlers(scoring), Evaluate: self._evaluate})

    def _evaluate(self, asked: Evaluate) -> Evaluated:
        self.client.worker.load(asked.shared)
        return answer_evaluation(self.client, asked)
