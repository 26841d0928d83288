"""The client's part of prompting: it scores prompts on examples of its own."""

import time
from dataclasses import dataclass

from ...chance import stream
from ...learning.client import ClientState
from ...learning.worker import OnStep, Worker
from ...messages import answer
from ...prompting import Prompt
from ...prompting import Score as Sums
from ...records import Message
from ...tasks import LabelLikelihood
from ..evaluation import Evaluate, Evaluated, answer_evaluation
from .messages import VALIDATION, Score, Scored, prompts_in
from .settings import Prompting


@dataclass(frozen=True, kw_only=True)
class PromptingClient:
    """Answers "score" with sums over its own examples, "evaluate" with figures."""

    settings: Prompting
    task: LabelLikelihood
    worker: Worker
    state: ClientState
    on_step: OnStep | None = None

    def answer(self, message: Message) -> Message:
        """Return the reply to one message."""
        return answer(message, {Score: self._score, Evaluate: self._evaluate})

    def _evaluate(self, asked: Evaluate) -> Evaluated:
        self.worker.load(asked.shared)
        return answer_evaluation(self.worker, self.state, asked)

    def _score(self, asked: Score) -> Scored:
        worker, began = self.worker, time.perf_counter()
        measured = worker.peak.reset()
        prompts = prompts_in(asked.prompts, self.task.words)
        shard = self.state.validation if asked.part == VALIDATION else self.state.train
        rows = self._rows(len(shard), asked.most)
        if len(rows) < self.settings.few:
            return Scored(version=asked.version, scored=0, forward_tokens=0, seconds=time.perf_counter() - began)
        examples = self.task.pairs(shard, rows)
        sums, tokens = [], 0
        for number, prompt in enumerate(prompts, start=1):
            found, spent = self._sums(prompt, examples)
            sums.append(found)
            tokens += spent
            if self.on_step:
                self.on_step(number, len(prompts), found.loss)
        return Scored(
            version=asked.version,
            scored=len(rows),
            loss_sums=[one.loss_sum for one in sums],
            right=[one.right for one in sums],
            forward_tokens=tokens,
            seconds=time.perf_counter() - began,
            peak_bytes=worker.peak.read() if measured else None,
        )

    def _rows(self, examples: int, most: int) -> list[int]:
        """Return the first `most` rows of the client's one order: those of a rung are among those of the next."""
        order = stream(self.worker.seed, "scored-examples", 0, self.state.id).permutation(examples)
        return sorted(order[:most].tolist())

    def _sums(self, prompt: Prompt, examples: list[tuple[str, str]]) -> tuple[Sums, int]:
        """Return a prompt's sums, and the tokens that a client computes which reads the prompt itself."""
        worker = self.worker
        with worker.precision():
            reading = worker.prompts.read(prompt, calibrate=self.task.calibrate)
            found = reading.score(examples, batch=worker.evaluation.batch_size)
        return found, reading.tokens + reading.tokens_of([text for text, _ in examples])
