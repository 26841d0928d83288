"""What a method of prompting promises, and what it is given to carry out a run with."""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ...errors import SettingError
from ...interfaces import Federation
from ...learning.worker import Worker
from ...ledger import Sizes
from ...messages import Call, Record
from ...prompting import Prompt
from ...prompting.score import head_ids, token_ids
from ...records import Cost, Round, ServerState
from ...tasks.text.room import context
from ..rounds.sampling import Sampler
from .client import Prompted, Scoring

Handlers: TypeAlias = Mapping[type[Record], Callable[[Any], Record]]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The model and the task of a run, and the settings that all methods have in common."""

    worker: Worker
    base: Path  # that paths of the settings are relative to
    few: int  # least examples that a sum may be over
    quorum: float

    @property
    def task(self) -> Prompted:
        """The task.

        Raises:
            SettingError: if it is another one.
        """
        found: Any = self.worker.task
        if not hasattr(found, "reading"):
            raise SettingError(
                f"protocol: prompting needs task: label-likelihood or reference-likelihood; the job has {getattr(found, 'kind', '')}"
            )
        task: Prompted = found
        return task

    def with_labels(self, method: str) -> "Bench":
        """Return this, for a method that scores labels.

        Raises:
            SettingError: if the task has none.
        """
        if not self.task.words:
            raise SettingError(
                f"method: {method} scores labels, and task: {getattr(self.task, 'kind', '')} has none; choose method: search"
            )
        return self

    @property
    def room(self) -> int:
        """How many tokens the model reads at once."""
        return context(self.worker.model)

    def needed(self, prompt: Prompt) -> int:
        """Return how many tokens prompt, longest text and longest label have together."""
        around = len(token_ids(self.worker.processor, prompt.tail("")))
        example = around + self.task.max_tokens + max(self.answer_tokens())
        return len(head_ids(self.worker.processor, prompt)) + (1 + prompt.own_shots) * example

    def answer_tokens(self) -> list[int]:
        """Return how many tokens each label has, or an answer may have."""
        return self.task.answer_lengths(self.worker.processor)


class Carried(Protocol):
    """A method with a model: what a run is carried out with."""

    @property
    def validated(self) -> bool:
        """Whether rounds are judged by the validation loss of what is shared; else the method chooses its result itself."""

    @property
    def rounds(self) -> int | None:
        """How many rounds it takes at most; None: as many as it is given."""

    def notes(self, rounds: int, patience: int | None) -> Iterator[str]:
        """Yield what is to be said before a run of so many rounds that ends after so many evaluations without a better loss."""

    def begun(self) -> ServerState:
        """Return the state before the first round."""

    def start(self) -> ServerState:
        """Return that state, of a run that begins now.

        Raises:
            SettingError: if it cannot be carried out here.
        """

    def serve(self, federation: Federation, state: ServerState, sampler: Sampler) -> Generator[Round, None, None]:
        """Yield after each round; what was yielded last is all that is needed to resume."""

    def handlers(self, client: Scoring) -> Handlers:
        """Return what a client answers each of the method's messages with."""

    def calls(self) -> list[Call]:
        """Return what the method sends."""

    def lengths(self, rounds: int) -> tuple[int, int]:
        """Return the bytes that one client sends and gets in a round, on average over so many."""

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one round, estimated."""

    def outcome(self, state: ServerState) -> dict[str, Any]:
        """Return what a run came to, for summary.json."""

    def described(self) -> Iterator[tuple[str, str]]:
        """Yield what is searched and what goes down, as a name and a text each."""


class Method(Protocol):
    """The settings of a method: how prompts are found."""

    @property
    def kind(self) -> str:
        """The name by which a job chooses it."""

    @property
    def fewest(self) -> tuple[str, int]:
        """The setting that says how many examples of a client a score is a sum over at least, and what it says."""

    @property
    def of_server(self) -> Mapping[str, object]:
        """Settings that the server alone needs, with what sites get in their place."""

    def inlined(self, base: Path) -> dict[str, Any]:
        """Return the settings that name files, with what the files hold in their place: for a server that has not the files."""

    def carried(self, bench: Bench) -> Carried:
        """Return the method with a model."""
