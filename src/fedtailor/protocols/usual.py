"""What holds of a protocol that says nothing else of itself: of its settings, and of what a run is carried out with."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

from ..errors import SettingError
from ..learning.worker import Worker
from ..records import ClientId, Message, ServerState
from ..tensors import Tensors


class UsualSettings:
    """Of the settings; see `pairs` for what it gives and needs."""

    kind: Any
    gives: ClassVar[Mapping[str, bool | str]] = {}
    own_models: ClassVar[bool] = False  # whether each client has a model of its own, beside the server's
    usual: ClassVar[Mapping[str, str]] = {"tuning": "lora"}  # settings of a job that does not name them
    in_checkpoint: ClassVar[bool] = (
        False  # whether a checkpoint holds all trained weights, so that what they began with is not needed any more
    )

    @property
    def apart(self) -> bool:
        """Whether nobody's weights meet another's, so that models and ranks may differ among clients as they like."""
        return False

    @property
    def dtype(self) -> str:
        """Of the weights in messages."""
        return "float32"

    @property
    def class_counts(self) -> bool:
        """Whether evaluations may report counts of classes."""
        return True

    @property
    def public_examples(self) -> tuple[object, int | None] | None:
        """The source of examples that everybody speaks of, and how many of them are taken at most; None where there are none."""
        return None

    def sent(self, shared: Tensors, round: int) -> list[str]:
        """Return the names of the tensors that clients train and send in `round`, counted from 1."""
        return list(shared)

    def check(self, shared: Tensors, trained: Collection[str]) -> None:
        """Raise SettingError if the aggregation does not fit the exchanged tensors, or these not the names of the trained weights."""

    def check_cuts(self, cuts: Mapping[ClientId, int]) -> None:
        """Raise SettingError if some clients' models cannot be cut elsewhere than the job's."""
        for client, cut in cuts.items():
            raise SettingError(
                f"clients.overrides.{client}.protocol.cut is {cut}, and protocol: {self.kind} cuts no model; choose protocol: split, or leave it out"
            )

    def with_rule(self, rule: Any) -> Self:
        """Return the protocol with another rule of aggregation."""
        return replace(self, aggregation=rule)  # type: ignore[type-var]

    def inlined(self, base: Path) -> Mapping[str, Any]:
        """Return the settings that name files, by dotted name, with what the files hold in their place: for a server that has not the files.

        Args:
            base: that their paths are relative to.
        """
        return {}

    def for_sites(self, plain: Mapping[str, Any], *, sent: str) -> Mapping[str, Any]:
        """Return the settings as sites get them, without what is the server's own; `sent` stands for data that come with messages."""
        return plain


class UsualRun:
    """Of what a run is carried out with."""

    trains: ClassVar[bool] = True  # whether weights change
    own_models: ClassVar[bool] = False  # whether each client has a model of its own, beside the server's
    evaluates: ClassVar[bool] = True  # whether clients are asked how good weights are on parts of their own
    in_rounds: ClassVar[bool] = True  # whether a site bounds it by rounds; else clients bound it by questions
    works_ahead: ClassVar[bool] = False  # whether what answers at a client has work to do before the first round
    knows_gain: ClassVar[bool] = True  # whether clients can measure what their local training gains

    @property
    def validated(self) -> bool:
        """Whether rounds are judged by validation losses; else the protocol judges what it finds."""
        return True

    @property
    def least_examples(self) -> int:
        """How few examples a client's answer in a round may be over, beside what the site's own policy says."""
        return 0

    def of_client(self, client: ClientId) -> Self:
        """Return the protocol as it is at one client."""
        return self

    def most_rounds(self, rounds: int) -> int:
        """Return how many rounds there are at most where the job stops after `rounds`."""
        return rounds

    def outcome(self, state: ServerState) -> Mapping[str, Any]:
        """Return sections of summary.json that only this protocol has."""
        return {}

    def check_models(self, server: Worker, own: Mapping[ClientId, Worker]) -> None:
        """Raise SettingError, naming the client, unless what it sends can be read by the server's model.

        Args:
            own: of the clients whose worker is not the server's.
        """

    def last_request(self, state: ServerState, *, generate: bool) -> Message | None:
        """Return what is asked of each client that trains after the last round; None if nothing is."""
        return None

    def last_section(self, state: ServerState) -> Mapping[str, Any]:
        """Return what the section of the last request has beside figures."""
        return {}

    def last_bytes(self, shared: Tensors, *, rounds: int) -> tuple[str, int] | None:
        """Return the kind of the last request and the bytes of it that each client gets after so many rounds; None if there is none."""
        return None

    def exchanges_a_round(self, examples: int) -> int:
        """Return how often a client with so many training examples waits for an answer of the server in a round."""
        return 1

    def says(self) -> Iterator[tuple[str, str]]:
        """Yield what `check` shows of the protocol, beside its name and rule: a name and a text."""
        yield from ()

    def estimates(self, shared: Tensors, *, rounds: int, clients: int, tokens: int) -> Iterator[tuple[str, str]]:
        """Yield what `check` shows of costs beside those of rounds: a name and a text.

        Args:
            tokens: of all training examples.
        """
        yield from ()
