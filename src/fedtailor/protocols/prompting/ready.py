"""Prompting with a model: what a run is carried out with, whatever the method."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ...interfaces import Federation
from ...learning.client import Client
from ...learning.worker import OnStep, Worker
from ...ledger import Sizes
from ...messages import Call
from ...personalization import Personalization
from ...records import Cost, Round, ServerState
from ...tasks.shard import Shard
from ...tensors import Tensors
from ..bench import Bench as ReadyBench
from ..rounds.sampling import Sampler
from ..usual import UsualRun
from .client import PromptingClient
from .method import Bench, Carried
from .settings import Prompting


@dataclass(kw_only=True)
class PromptingRun(UsualRun):
    """What a run is carried out with."""

    settings: Prompting
    worker: Worker
    base: Path  # that paths of the settings are relative to
    bench: Bench = field(init=False)
    method: Carried = field(init=False)

    knows_gain: ClassVar[bool] = False
    trains: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.bench = Bench(worker=self.worker, base=self.base, few=self.settings.few, quorum=self.settings.quorum)
        self.method = self.settings.method.carried(self.bench)

    @property
    def validated(self) -> bool:
        return self.method.validated

    def start(self, worker: Worker) -> ServerState:
        """Return the state before the first round."""
        return self.method.start()

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
        """Yield after each round, until the method has come to its end if it has one."""
        return self.method.serve(federation, state, sampler)

    def client(
        self,
        client: Client,
        *,
        personalization: Personalization | None = None,
        public: Shard | None = None,
        on_step: OnStep | None = None,
    ) -> PromptingClient:
        """Return the part that answers messages at one client."""
        return PromptingClient(
            handlers=self.method.handlers,
            task=self.bench.task,
            few=self.settings.few,
            client=client,
            on_step=on_step,
        )

    def calls(self, shared: Tensors, figures: Sequence[str] = (), *, rounds: int = 1) -> list[Call]:
        """Return what this protocol sends."""
        return self.method.calls()

    def sizes(
        self, shared: Tensors, *, rounds: int, validated: bool, shape: Callable[[Call], Call] = lambda call: call
    ) -> Mapping[str, int]:
        """Return the bytes that a client sends and gets in a round."""
        up, down = self.method.lengths(rounds)
        return {"up_bytes": up, "down_bytes": down}

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one round, estimated."""
        return self.method.cost(sizes, examples=examples, tokens_per_example=tokens_per_example)

    def measured(self, shared: Tensors) -> Tensors:
        """Return the prompt that leads at the start: those that follow are about as long."""
        return self.method.begun().shared

    @property
    def least_examples(self) -> int:
        """See `Prompting.few`."""
        return self.settings.few

    def most_rounds(self, rounds: int) -> int:
        """Return how many rounds there are at most: those of the job, or fewer where the method ends by itself."""
        own = self.method.rounds
        return rounds if own is None else min(rounds, own)

    def says(self) -> Iterator[tuple[str, str]]:
        """Yield what is searched, and what goes down and comes up."""
        yield "protocol", f"prompting, {self.settings.method.kind}"
        yield from self.method.described()
        yield (
            "comes up",
            f"for each candidate two sums over at least {self.settings.few} examples of the client: of losses, and of right answers; no text",
        )

    def outcome(self, state: ServerState) -> Mapping[str, Any]:
        """Return what a run came to."""
        return {"prompting": self.method.outcome(state)}


def prompting_run(settings: Prompting, bench: ReadyBench) -> PromptingRun:
    """Return the protocol with the server's model; what its method has to say before a run is said."""
    run = PromptingRun(settings=settings, worker=bench.worker, base=bench.base)
    for text in run.method.notes(bench.rounds, bench.patience):
        bench.warn(text)
    return run
