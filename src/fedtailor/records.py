"""The few frozen records that travel between the parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:  # torch comes with it, and who reads a table needs none
    from .tensors import Tensors

ClientId: TypeAlias = str
Fact: TypeAlias = int | float | str | list[int] | list[float] | list[str]
Facts: TypeAlias = Mapping[str, Fact]

TOOLS = (
    "tools",
    "functions",
)  # fields of an example that list what a conversation may call: as chat templates take them, and as older files have them


class Numeral(str):
    """The text of a whole number that stands as a number in its source; equal to the same text from a file without types."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example of somebody's data."""

    id: str  # stable name within its source, such as "train-17"
    fields: Mapping[str, object]  # the task's names (input, target, references, text, label) and all other columns that are read
    source: str = field(default="", compare=False)  # the file, or the name in a mapping of clients, that it comes from
    place: str = field(default="", compare=False)  # the row as an editor or a spreadsheet shows it; "" where there is none


@dataclass(frozen=True, kw_only=True)
class Message:
    """What server and clients say to each other; the only thing that crosses the border of a client."""

    kind: str  # "train", "evaluate", ...
    tensors: "Tensors" = field(default_factory=dict)  # on the CPU, contiguous
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Length of the encoded messages of one exchange, and how long it took."""

    up_bytes: int = 0
    down_bytes: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            up_bytes=self.up_bytes + other.up_bytes,
            down_bytes=self.down_bytes + other.down_bytes,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, kw_only=True)
class ClientFailure:
    """Why a client gave no usable answer: a kind and a mark, never a text of the client's."""

    kind: str  # "failed", "off-manifest", "not-finite", "lost", "timeout", "refused"
    mark: str  # name of the exception class; its text stays in the client's own log


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One client's answer to one request."""

    client: ClientId
    message: Message | None  # None if the client failed
    error: ClientFailure | None = None
    traffic: Traffic = Traffic()


@dataclass(frozen=True, kw_only=True)
class ClientInfo:
    """What the server knows of a client."""

    id: ClientId
    examples: int  # in its training part


@dataclass(frozen=True, kw_only=True)
class Update:
    """What one client sends back after local training."""

    client: ClientId
    version: int  # of the shared tensors it started from
    delta: "Tensors"  # trained minus received, one tensor per trained weight
    weight: float  # share in averages; the client's number of examples unless the job says otherwise
    extra: "Tensors" = field(default_factory=dict)  # control variates and the like
    scale: Mapping[str, float] = field(default_factory=dict)  # alpha / r per module, as ranks may differ


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an aggregation makes of one round's updates."""

    shared: "Tensors"  # after the round
    state: "Tensors" = field(default_factory=dict)  # of the aggregation, for the next round
    personal: Mapping[ClientId, "Tensors"] = field(default_factory=dict)  # for rules that answer each client differently
    figures: Mapping[str, float] = field(default_factory=dict)  # bias, cosine, ...
    shares: Mapping[ClientId, float] = field(
        default_factory=dict
    )  # of each update in the step, from rules that choose among updates


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """All that a server must keep to resume after a stop: values only."""

    version: int  # rounds behind it
    shared: "Tensors"
    method: "Tensors" = field(default_factory=dict)  # what the aggregation keeps


@dataclass(frozen=True, kw_only=True)
class Round:
    """What a protocol yields when a round is done and no exchange is open."""

    index: int  # from 1
    state: ServerState
    figures: Mapping[str, float]
    clients: Sequence[Mapping[str, Any]]  # a row per client and attempt: see clients.parquet
    failures: Sequence[tuple[ClientId, ClientFailure]] = ()  # of all attempts


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one client spends in one round, estimated."""

    up_bytes: int
    down_bytes: int
    train_flops: float
    memory_bytes: int
