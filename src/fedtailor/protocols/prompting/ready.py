"""Prompting with a model and a pool: what a run is carried out with."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ...errors import SettingError
from ...interfaces import Federation
from ...learning.client import ClientState
from ...learning.local import LocalTraining
from ...learning.worker import OnStep, Worker
from ...ledger import Sizes
from ...messages import Call
from ...personalization import Personalization
from ...prompting import NEUTRAL, Halving, Prompt, begin
from ...prompting.halving import rungs
from ...prompting.score import head_ids, token_ids
from ...records import Cost, Round, ServerState
from ...tasks import LabelLikelihood
from ...tasks.shard import Shard
from ...tasks.text.room import context
from ...tensors import Tensors
from ..rounds.sampling import Sampler
from ..usual import UsualRun
from .client import PromptingClient
from .cost import lengths, round_cost
from .messages import scoring_call
from .search import Search
from .server import search_of, serve, server_state
from .settings import Prompting


@dataclass(kw_only=True)
class PromptingRun(UsualRun):
    """What a run is carried out with."""

    settings: Prompting
    worker: Worker
    base: Path  # that paths of the pool are relative to
    pool: tuple[Prompt, ...] = field(init=False)

    knows_gain: ClassVar[bool] = False
    trains: ClassVar[bool] = False  # whether weights change; the search itself judges what it finds

    def __post_init__(self) -> None:
        _ = self.task
        self.pool = self._pool()

    @property
    def task(self) -> LabelLikelihood:
        """The task.

        Raises:
            SettingError: if it is another one.
        """
        if not isinstance(self.worker.task, LabelLikelihood):
            raise SettingError(
                f"protocol: prompting needs task: label-likelihood; the job has {getattr(self.worker.task, 'kind', '')}"
            )
        return self.worker.task

    @property
    def method(self) -> Search:
        assert isinstance(self.settings.method, Search)
        return self.settings.method

    @property
    def halving(self) -> Halving:
        return self.method.halving

    @property
    def local(self) -> LocalTraining:
        return self.settings.local

    @property
    def aggregation(self) -> None:
        return None

    @property
    def rungs(self) -> int:
        """How many rounds the search takes at most."""
        return rungs(self.halving, len(self.pool))

    def start(self, worker: Worker) -> ServerState:
        """Return the state before the first rung: the first prompt of the pool leads."""
        return server_state(begin(self.pool), 0)

    def serve(
        self,
        federation: Federation,
        state: ServerState,
        sampler: Sampler,
        *,
        rounds: int,
        worker: Worker | None = None,
        wanted: Callable[[int], Sequence[str]] = lambda index: (),
    ) -> Generator[Round, None, None]:
        """Yield after each rung, until a prompt has won; see `server.serve`."""
        return serve(self.settings, self.halving, federation, state, sampler, fits=self.fits)

    def client(
        self,
        worker: Worker,
        state: ClientState,
        *,
        personalization: Personalization | None = None,
        public: Shard | None = None,
        on_step: OnStep | None = None,
    ) -> PromptingClient:
        """Return the part that answers messages at one client."""
        return PromptingClient(settings=self.settings, task=self.task, worker=worker, state=state, on_step=on_step)

    def calls(self, shared: Tensors, figures: Sequence[str] = (), *, rounds: int = 1) -> list[Call]:
        """Return what this protocol sends."""
        return [scoring_call()]

    def sizes(self, shared: Tensors, *, rounds: int, validated: bool) -> Mapping[str, int]:
        """Return the bytes that a client sends and gets in a rung."""
        up, down = lengths(self.halving, self.pool)
        return {"up_bytes": up, "down_bytes": down}

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one rung, estimated, on average over the search."""
        answers = self._answer_tokens()
        heads = [len(head_ids(self.worker.processor, prompt)) for prompt in self.pool]
        neutral = len(NEUTRAL) * (sum(answers) + 4) if self.task.calibrate else 0
        return round_cost(
            self.halving,
            sizes,
            pool=len(self.pool),
            examples=examples,
            tokens_per_example=tokens_per_example + 4,  # what the layout puts around a text
            read_tokens=sum(heads) / len(heads) + neutral,
            answer_tokens=sum(answers),
        )

    @property
    def least_examples(self) -> int:
        """See `Prompting.few`."""
        return self.settings.few

    def most_rounds(self, rounds: int) -> int:
        """Return how many rounds there are at most: those of the job, or fewer where the search ends by itself."""
        return min(rounds, self.rungs)

    def says(self) -> Iterator[tuple[str, str]]:
        """Yield what is searched, and what goes down and comes up."""
        shown = max(len(prompt.shots) for prompt in self.pool)
        examples = f", up to {shown} public examples in each" if shown else ", no examples in them"
        yield "protocol", f"prompting, {self.method.kind}"
        yield "pool", f"{len(self.pool):,} prompts{examples}; {self.method.generations} generations in up to {self.rungs} rounds"
        yield "goes down", "the texts of prompts, made of the pool alone; no client's text is in them"
        yield (
            "comes up",
            f"for each prompt two sums over at least {self.settings.few} examples of the client: of losses, and of right answers; no text",
        )

    def outcome(self, state: ServerState) -> Mapping[str, Any]:
        """Return what the search came to."""
        return {"prompting": self._found(state)}

    def _found(self, state: ServerState) -> dict[str, Any]:
        search = search_of(state)
        leader = search.winner or search.candidates[0]
        return {
            "found": leader.to_json(),
            "prompt": leader.head() + leader.tail("{text}"),
            "chosen_by": "validation" if search.finals else "training",
            "finals": list(search.finals),
            "best_of_pool": None if search.pool_best is None else search.pool_best.head() + search.pool_best.tail("{text}"),
            "candidates": len(search.seen),
            "pool": len(self.pool),
        }

    def fits(self, prompt: Prompt) -> bool:
        """Return whether prompt, longest text and longest label fit the model's context."""
        return self._needed(prompt) <= context(self.worker.model)

    def _pool(self) -> tuple[Prompt, ...]:
        pool = self.method.prompts(self.task.words, self.base, self.worker.seed)
        most = context(self.worker.model)
        for prompt in pool:
            if (needed := self._needed(prompt)) > most:
                raise SettingError(
                    f"protocol.method.pool: the prompt that begins {prompt.instruction[:40]!r} needs {needed:,} tokens with its {len(prompt.shots)} "
                    f"examples, a text of {self.task.max_tokens} and a label, and the backbone reads {most:,}; shorten it, show fewer examples, or lower "
                    "task.max_tokens"
                )
        self.worker.prompts.read(pool[0], calibrate=False)  # labels and backbone are found fit, or named, before anything is done
        return pool

    def _needed(self, prompt: Prompt) -> int:
        around = len(token_ids(self.worker.processor, prompt.tail("")))
        return len(head_ids(self.worker.processor, prompt)) + around + self.task.max_tokens + max(self._answer_tokens())

    def _answer_tokens(self) -> list[int]:
        return [len(token_ids(self.worker.processor, f" {word}")) for word in self.task.words]
