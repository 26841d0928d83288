"""What protections promise, and what they are given to work with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ..messages import Call, MessageSpec
from ..messages.specs import TensorsReveal
from ..records import ClientId, Message
from ..tensors import Tensors, pick
from .federation import Answering, Federation
from .rules import Aggregation


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is known of a run before its first round; the same at the server and at all clients."""

    clients: int  # that train
    rate: float  # share of them that is asked in a round, in (0, 1]
    rounds: int
    values: int  # in one client's update
    lengthened: float = 0.0  # by how much a clipped update may be longer once it is summed, since what carries it is coarse

    @property
    def expected(self) -> float:
        """How many clients a round asks, on average."""
        return self.rate * self.clients


class Kept(Protocol):
    """What a client keeps from round to round."""

    def recall(self, version: int, part: str = "") -> Tensors:
        """Return what was kept of a part when the shared weights had `version`, or last before it."""

    def keep(self, version: int, tensors: Tensors, part: str = "") -> None:
        """Keep the tensors as a part of the state that goes with `version`; the other parts stay."""

    @property
    def brief(self) -> dict[str, Any]:
        """What it holds for the length of a round, in memory and nowhere else."""


WhoSigns: TypeAlias = Callable[[], Any]
"""Gives the identity that a client signs with (`protection.secure.identity.Identity`); raises an error of ours if it has none."""


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Where a message is when a protection sees it."""

    client: ClientId  # whose border it crosses; "" at the server, where one gate is everybody's
    spec: MessageSpec  # what the manifest says of messages of this kind, before any code: which tensors reveal what
    asked: Message | None = None  # the request that it answers, at a client
    plan: Plan | None = None  # of the run; None where there is none, as when a backbone is sent
    kept: Kept | None = None  # of the client; None at the server

    def revealing(self, what: TensorsReveal, message: Message) -> Tensors:
        """Return the tensors of the message that reveal `what`; lazy ones stay so."""
        return pick(message.tensors, lambda name: name in self.spec.tensors and self.spec.tensors[name].reveals == what)


@runtime_checkable
class Settling(Protocol):
    """The part of a protection that replaces settings of its job before anything is made of it."""

    def settles(self, job: Any) -> Mapping[str, Any]:
        """Return the sections of a job that it replaces, by name."""


@runtime_checkable
class Checking(Protocol):
    """The part of a protection that looks at the whole job before a run."""

    def check(self, job: Any, plan: Plan) -> Sequence[str]:
        """Return what is to be said of a run before it.

        Raises:
            SettingError: naming what does not go together.
        """


@runtime_checkable
class Lengthening(Protocol):
    """The part of a protection that rounds updates before they are summed."""

    def lengthens(self, plan: Plan) -> float:
        """Return by how much an update may be longer afterwards."""


@runtime_checkable
class OnMessages(Protocol):
    """The part of a protection that changes messages: at a client before they are encoded, at the server after they were decoded."""

    def leave(self, message: Message, crossing: Crossing) -> Message:
        """Return the message as it may leave the client."""

    def arrive(self, message: Message, crossing: Crossing) -> Message:
        """Return the message as the server is to read it."""


@runtime_checkable
class Shaping(Protocol):
    """The part of a protection that changes what messages look like, and so the manifest."""

    def shape(self, call: Call) -> Call:
        """Return the call as it is under this protection."""


@runtime_checkable
class AroundFederation(Protocol):
    """The part of a protection that stands between the protocol and the clients, such as exchanges of its own."""

    def around(self, federation: Federation) -> Federation:
        """Return a federation around this one."""


@runtime_checkable
class AtClient(Protocol):
    """The part of a protection that answers messages of its own at a client."""

    def at_client(self, half: Answering, client: ClientId, kept: Kept, who: WhoSigns | None = None) -> Answering:
        """Return what answers these messages, and hands all others to `half`.

        Args:
            who: at a site of a network, gives what the client signs with; None where all clients are in one process.
        """

    def calls(self) -> Sequence[Call]:
        """Return the exchanges that they belong to."""


@runtime_checkable
class OnSum(Protocol):
    """The part of a protection that sums a round's updates itself: with noise, a constant divisor, or rounds without answers."""

    def on_sum(self, rule: Aggregation, plan: Plan) -> Aggregation:
        """Return a rule that sums the updates in this protection's way, and hands `rule` their mean as if one client had sent it.

        Args:
            rule: of the job; a weighted mean is all that it needs (`RuleTraits.linear`).
        """


Protection: TypeAlias = OnMessages | Shaping | AroundFederation | OnSum
"""A frozen dataclass of settings that has one or more of these parts; a job lists protections in the order in which they are applied at a client."""
