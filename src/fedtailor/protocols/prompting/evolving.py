"""The method `black-box` with a model: the server draws points of a subspace, clients score the vectors that they stand for."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...chance import stream
from ...errors import SettingError
from ...interfaces import Federation
from ...ledger import Sizes, forward_flops
from ...messages import Call
from ...prompting import NEUTRAL, Prompt, prompt_from_json
from ...prompting import Score as Sums
from ...prompting.cma import Cloud, Strategy, ask, start, tell
from ...prompting.vectors import Subspace, subspace, vectors_text
from ...records import Cost, Round, ServerState
from ...tuning import tensor_text
from ...tuning.none import TENSOR
from ..rounds.sampling import Sampler
from .asking import ask_scores, figures, nobody_scored
from .client import Scoring
from .messages import MOST_POINT, Scored, ScorePoints, points_call
from .method import Bench, Handlers
from .state import cloud_of, with_cloud


@dataclass(frozen=True, kw_only=True)
class Evolving:
    """What a search for a soft prompt is carried out with."""

    strategy: Strategy
    prompt: Prompt  # the text in front
    length: int
    sigma: float
    examples: int
    bench: Bench

    rounds: ClassVar[None] = None
    validated: ClassVar[bool] = True

    def __post_init__(self) -> None:
        bench = self.bench
        if (needed := bench.needed(self.prompt) + self.length) > bench.room:
            raise SettingError(
                f"protocol.method: prompt, a text of {bench.task.max_tokens} tokens, {self.length} vectors and a label need {needed:,} tokens, and the "
                f"backbone reads {bench.room:,}; lower length or task.max_tokens"
            )
        bench.worker.prompts.read(
            self.prompt, calibrate=False
        )  # labels and backbone are found fit, or named, before anything is done

    @cached_property
    def subspace(self) -> Subspace:
        """Where vectors are searched: the same at server and clients."""
        worker = self.bench.worker
        return subspace(
            worker.model.get_input_embeddings().weight,  # type: ignore[operator]
            length=self.length,
            dimensions=self.strategy.dimensions,
            seed=worker.seed,
        )

    def notes(self, rounds: int, patience: int | None) -> Iterator[str]:
        """Yield what is to be said before a run of so many rounds."""
        evaluations = rounds * self.strategy.population
        if evaluations < 2 * self.strategy.dimensions:
            yield (
                f"a round is one generation: stop.rounds: {rounds} scores {evaluations:,} candidates, and a search in {self.strategy.dimensions} "
                "dimensions takes more; raise stop.rounds, or lower protocol.method.dimensions"
            )
        if patience is not None and patience < 10:
            yield (
                f"stop.patience: {patience} ends the search after {patience} evaluations without a better loss, and single generations vary; set "
                "stop.patience: null, or evaluation.every: 10"
            )

    def begun(self) -> ServerState:
        """Return the state before the first generation: the vectors are those of words drawn by the seed."""
        return self._state(start(np.zeros(self.strategy.dimensions), self.sigma), 0)

    def start(self) -> ServerState:
        """Return that state."""
        return self.begun()

    def serve(self, federation: Federation, state: ServerState, sampler: Sampler) -> Generator[Round, None, None]:
        """Yield after each generation.

        Raises:
            TooFewClients: if less than the quorum answered, twice.
            RunError: if no client had enough examples.
        """
        while True:
            index, cloud = state.version + 1, cloud_of(state)
            drawn = ask(cloud, self.strategy, stream(sampler.seed, "soft-prompts", index))
            points = torch.from_numpy(np.clip(drawn, -MOST_POINT, MOST_POINT)).half()
            answered = ask_scores(
                federation,
                sampler,
                ScorePoints(version=state.version, most=self.examples, points=points),
                version=state.version,
                most=self.examples,
                candidates=len(points),
                quorum=self.bench.quorum,
            )
            if answered.sums is None:
                raise nobody_scored(index, self.bench.few)
            cloud = tell(cloud, self.strategy, points.double().numpy(), [one.loss for one in answered.sums])
            state = self._state(cloud, index)
            row = {**figures(answered.sums), "generation": float(cloud.generation - 1), "sigma": cloud.sigma}
            yield Round(index=index, state=state, figures=row, clients=answered.rows, failures=answered.failures)

    def _state(self, cloud: Cloud, version: int) -> ServerState:
        """Return a cloud as the state of a server: the prompt at its middle is what is shared."""
        found = replace(self.prompt, vectors=vectors_text(self.subspace.vectors(cloud.mean)))
        return with_cloud(cloud, found, version)

    def handlers(self, client: Scoring) -> Handlers:
        """Return what scores points at a client."""
        return {ScorePoints: lambda asked: self._score(client, asked)}

    def _score(self, client: Scoring, asked: ScorePoints) -> Scored:
        examples, worker = client.examples(asked.most), client.worker
        assert asked.points is not None
        reading = worker.prompts.read(self.prompt, calibrate=client.task.calibrate)
        tokens = len(examples) * self._answer_tokens()

        def score(point: Tensor) -> tuple[Sums, int]:
            read = worker.prompts.behind(
                self.prompt, examples, calibrate=client.task.calibrate, batch=worker.evaluation.batch_size
            )
            return read.score(self.subspace.vectors(point.double().numpy()).to(worker.device)), tokens

        found = client.scored(list(asked.points), examples, score, version=asked.version)
        once = reading.tokens + reading.tokens_of([text for text, _ in examples])  # read again by a client that kept nothing
        return replace(found, forward_tokens=found.forward_tokens + once if found.scored else 0)

    def _answer_tokens(self) -> int:
        return self.length + sum(self.bench.answer_tokens())

    def calls(self) -> list[Call]:
        """Return what the search sends."""
        return [points_call(self.strategy.population, self.strategy.dimensions)]

    def lengths(self, rounds: int) -> tuple[int, int]:
        """Return the bytes that a client sends and gets in a round."""
        (call,), count = self.calls(), self.strategy.population
        up = call.length(Scored, loss_sums=[123.12345678901234] * count, right=[10] * count)
        return up, call.length(ScorePoints)

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one round, estimated."""
        rows = min(examples, self.examples)
        neutral = len(NEUTRAL) if self.bench.task.calibrate else 0
        tokens = rows * (tokens_per_example + 4) + self.strategy.population * (rows + neutral) * self._answer_tokens()
        return Cost(
            up_bytes=sizes.up_bytes,
            down_bytes=sizes.down_bytes,
            train_flops=forward_flops(round(tokens), sizes),
            memory_bytes=sizes.backbone_bytes,
        )

    def outcome(self, state: ServerState) -> dict[str, Any]:
        """Return what the search came to, for summary.json."""
        found = prompt_from_json(tensor_text(state.shared[TENSOR]))
        return {
            "prompt": found.head() + found.tail("{text}"),
            "vectors": self.length,
            "dimensions": self.strategy.dimensions,
            "evaluations": cloud_of(state).generation * self.strategy.population,
            "sigma": cloud_of(state).sigma,
        }

    def described(self) -> Iterator[tuple[str, str]]:
        """Yield what is searched and what goes down."""
        strategy = self.strategy
        yield (
            "searched",
            f"{self.length} vectors behind each text, in {strategy.dimensions} random dimensions; {strategy.covariance} covariance",
        )
        yield "goes down", f"{strategy.population} points of {strategy.dimensions} numbers a round; no client's text is in them"
