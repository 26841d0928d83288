"""What the parts promise each other."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from .messages import Call, MessageSpec
from .messages.specs import TensorsReveal
from .pairs import Need
from .records import ClientId, ClientInfo, Message, Outcome, Reply, Update
from .tensors import Tensors, pick

if TYPE_CHECKING:
    from torch import nn

CARRIED = (
    "carried"  # the name of the frozen LoRA adapter beside the trained one; its tensors are MODULE.carried_A.weight and carried_B
)
POOLING = "fedtailor_pooling"  # in a model's config.json, what the head of a classifier reads where that is not what transformers lets it read


class Asking(Protocol):
    """What asks clients, each for one answer."""

    @property
    def clients(self) -> Sequence[ClientInfo]: ...

    def ask(self, requests: Mapping[ClientId, Message], timeout_s: float | None = None) -> Iterator[Reply]:
        """Send one request to each client and yield the answers as they come."""


class Federation(Asking, Protocol):
    """The means by which messages reach clients."""

    def send(self, client: ClientId, message: Message) -> int:
        """Encode `message` for `client` at once and return a ticket."""

    def next_reply(self, timeout_s: float | None = None) -> Reply:
        """Return the next answer, whichever client's comes first."""

    def cancel(self, ticket: int) -> None:
        """Forget a request that was not answered."""


class Tuning(Protocol):
    """Which weights are trained, and how they are read and written.

    Names of tensors are stable and sorted; a tuning is a frozen dataclass of its settings.
    """

    @property
    def kind(self) -> str:
        """The name by which a job chooses it."""

    def attach(self, model: "nn.Module", seed: int) -> "nn.Module":
        """Return the model with the tuning in place; only the weights under training require gradients, in float32."""

    def parameters(self, model: "nn.Module") -> "Mapping[str, nn.Parameter]":
        """Return the trained parameters themselves, by stable name, sorted."""

    def scale(self, model: "nn.Module") -> Mapping[str, float]:
        """Return alpha / r per module for low-rank tunings, else an empty mapping."""

    def save(self, model: "nn.Module", folder: Path) -> None:
        """Write the trained weights to `folder` in the format that other tools read."""

    def restore(self, model: "nn.Module", folder: Path) -> None:
        """Load what `save` wrote into a model that this tuning is attached to."""


@runtime_checkable
class Exchanging(Protocol):
    """What a tuning has besides, if the tensors that are sent are made of the trained weights and not those themselves.

    All else that is called shared (in messages, checkpoints, aggregation) is then the exchanged tensors.
    """

    def exchanged(self, model: "nn.Module") -> Tensors:
        """Return what is sent and averaged, by stable name, sorted; it may share memory with the model."""

    def receive(self, model: "nn.Module", tensors: Tensors) -> None:
        """Set the trained weights by what came, named and shaped as `exchanged`; what was in place before has no influence."""


@runtime_checkable
class Compared(Protocol):
    """What a tuning has besides, if clients are better compared by what the exchanged tensors make than by those themselves."""

    @property
    def compares(self) -> str:
        """What is compared, in a word that the names of figures begin with."""

    def compared(self, model: "nn.Module", tensors: Tensors) -> Tensors:
        """Return what the exchanged `tensors` make of each layer, by its name, sorted; empty if they do not tell.

        The model stays as it is, and so do the tensors.
        """


class Aggregation(Protocol):
    """The rule that turns updates into one step."""

    def init(self, params: Tensors) -> Tensors:
        """Return the state before the first round.

        Raises:
            SettingError: if the rule does not fit these tensors; a run then ends before anything is done.
        """

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return which tensors clients train in `round`, counted from 1; they send the deltas of these and of no others."""

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Turn one round's updates into the next shared tensors and state; arguments are left as they were."""


NEEDS_OF_CARRYING = (
    Need(
        word="factors",
        why="it carries LoRA factors beside the trained ones",
        remedy="choose tuning: lora, or aggregation: fedavg, which takes any tuning",
    ),
    Need(
        word="shared-adapter",
        why="what it carries beside the trained factors belongs to those that all share",
        remedy="choose personalization: finetune, or aggregation: lora-fair",
    ),
)
NEEDS_OF_REFACTORING = (
    Need(
        word="no-pull",
        why="it factors the shared adapter anew each round, and a pull of a client's own factors towards other factors of the same product leads nowhere",
        remedy="choose aggregation: fedavg, lora-fair or fedrot-lora, or personalization: finetune",
    ),
)


@dataclass(frozen=True, kw_only=True)
class RuleTraits:
    """What a rule of aggregation, of updates or of logits, needs or does beside the usual, as its attribute `traits`; a rule without one has these."""

    linear: bool = False  # a weighted sum of updates is all that it needs, so that it may run under secure aggregation
    plain_mean: bool = False  # it is the weighted mean and no more, and whoever has a rule of his own may take its place
    counts_clients: bool = False  # clients receive the number of clients
    control: bool = False
    """It corrects local gradients by control variates, which travel beside the weights (SCAFFOLD).

    Its state is the server's, named and shaped as the shared tensors. Clients answer in `Update.extra` with the change of their own, divided by
    the number of all clients, under the same names.
    """
    any_ranks: bool = False
    """Clients may train LoRA of different ranks.

    The factors of an update are then of its client's rank, [out, rank] and [rank, in]; they are what the client changed in the first columns
    and rows of the shared factors, in the scale alpha / rank of these.
    """
    refactors: bool = False
    """It refactors the shared LoRA each round.

    The same product then comes as other factors: what somebody kept of an earlier round (weights of their own, moments of an optimizer) cannot
    be set against the factors of this one.
    """
    carry: int = 0
    """The rank of a frozen factor that is carried beside LoRA, as the result exceeds the rank of the trained one; 0: none.

    The shared tensors then hold, beside the factors under training, MODULE.carried_A.weight [carry, in] and MODULE.carried_B.weight
    [out, carry], which start at zero and count with scale 1. They travel down only.
    """
    summed: bool = False  # each update that it gets is the mean of all, as no single one is known
    any_answers: bool = False  # a round counts however few answered, and is not tried again: under differential privacy both would tell of clients
    alike: bool = False  # all clients count alike, whatever weights they have
    least: int = 1  # updates of a round that it can work on
    needs_weights: bool = False  # of logits: clients send their weights too, and start each round from the server's
    needs_label_counts: bool = False  # of logits: clients report how many of their examples have each label

    @property
    def gives(self) -> Mapping[str, bool | str]:
        """See `pairs`. Who counts clients keeps of each what it sent last, or its control variate: more than a sum."""
        return {"sums": (self.linear and not self.counts_clients) or "which needs more than the sum of all updates"}

    @property
    def needs(self) -> Sequence[Need]:
        """See `pairs`."""
        return (*(NEEDS_OF_CARRYING if self.carry else ()), *(NEEDS_OF_REFACTORING if self.refactors else ()))


def traits_of(rule: object) -> RuleTraits:
    """Return the traits of a rule; those of one that names none, as a user's own may, are the defaults."""
    traits: RuleTraits = getattr(rule, "traits", RuleTraits())
    return traits


class RobustRule(Aggregation, Protocol):
    """A rule that stands some updates that are anything."""

    @property
    def traits(self) -> RuleTraits:
        """With `least`, the fewest updates among which it stands as many hostile ones as it was made for."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is known of a run before its first round; the same at the server and at all clients."""

    clients: int  # that train
    rate: float  # share of them that is asked in a round, in (0, 1]
    rounds: int
    values: int  # in one client's update

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


class Answering(Protocol):
    """What answers messages at a client."""

    def answer(self, message: Message) -> Message:
        """Return the answer to a message."""


@runtime_checkable
class AtClient(Protocol):
    """The part of a protection that answers messages of its own at a client."""

    def at_client(self, half: Answering, client: ClientId, kept: Kept) -> Answering:
        """Return what answers these messages, and hands all others to `half`."""

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
