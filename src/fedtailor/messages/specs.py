"""What one fact, one tensor and one message look like: what a manifest is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NewType, get_args

from torch import Tensor

from ..records import Message
from ..tensors import Tensors

Reveals = Literal[  # of a client's data; see `Policy`
    "nothing",
    "work",
    "examples",
    "figures",
    "memory",
    "public-fit",
    "label-counts",
    "prompt-scores",
    "critiques",
    "scores",
    "answers",
    "passages",
    "centroids",
    "term-counts",
]
Own = NewType("Own", str)
"""What a fact or a tensor reveals, by a word that the protocol or phase declares for policies, see `Phase.reports`."""
OfProtocol = Literal["weights", "update", "logits", "activations", "gradients"]
"""What tensors reveal that a protocol is known by: a site permits it with the protocol, and no policy has a word for it."""
TensorsReveal = Literal[  # see `Protection` and `Policy`
    OfProtocol,
    "nothing",
    "labels",
    "public-fit",
    "scores",
    "centroids",
    "embeddings",
]
Over = Literal["", "step", "train", "validation", "test", "public", "retained", "rung"]
"""Which examples a figure is a mean over; rung: those that a prompt is scored on, at least as many as `protocol.few`."""
Trains = Literal[
    "nothing", "round", "rounds", "once"
]  # round: the one after its version; rounds: one for each listed learning rate
MOST_VALUE = 1e6  # far beyond what honest weights, changes, activations and logits reach; sums of so many stay finite


@dataclass(frozen=True, kw_only=True)
class Coded:
    """One tensor among those that a payload stands for."""

    spec: "TensorSpec"
    size_bytes: int  # that it takes in the payload, or is expected to


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Form of one tensor; a size given by name is at most what `Manifest.sizes` says."""

    dtype: str  # "float32", "bfloat16", ...
    shape: tuple[int | str, ...]
    most: float = MOST_VALUE  # of the absolute values, of floats
    optional: bool = False  # absent in some messages: a rule that trains factors in turn sends only those trained
    reveals: TensorsReveal | Own = "nothing"  # of a client's data: protections and policies go by it
    coded: Mapping[str, Coded] = field(default_factory=dict)  # of a payload: the tensors that its receiver makes of it, by name

    @property
    def revealed(self) -> str:
        """What a site's policy goes by; what is permitted with the protocol counts as nothing."""
        return "nothing" if self.reveals in get_args(OfProtocol) else self.reveals


@dataclass(frozen=True, kw_only=True)
class FactSpec:
    """Form of one fact, and why it is sent."""

    type: Literal["int", "float", "str", "list[int]", "list[float]", "list[str]"]
    purpose: str
    most_characters: int = 0  # of a text
    optional: bool = False
    least: float | None = None  # of a number, or of each in a list; None: no bound of its own but that of 64 bits
    most: float | None = None
    most_items: int = 2**16  # of a list
    fixed: bool = False  # the same in every message of a client in a run
    of_examples: bool = False  # how many of a client's examples something is over: `clients.most_examples` bounds it
    needs: tuple[str, ...] = ()  # facts of the same message that must be there with it, as it means nothing without them
    over: Over = ""  # step: those of one optimizer step
    reveals: Reveals | Own | None = None  # of the client's data; None, not declared: a whole number nothing, all else figures

    @property
    def revealed(self) -> Reveals | Own:
        """What a site's policy goes by: what nobody declared counts as a metric, so that forgetting it withholds it."""
        return self.reveals or ("nothing" if self.type == "int" else "figures")


@dataclass(frozen=True, kw_only=True)
class MessageSpec:
    """Form of one kind of message in one direction."""

    tensors: Mapping[str, TensorSpec] = field(default_factory=dict)
    facts: Mapping[str, FactSpec] = field(default_factory=dict)
    trains: Trains = "nothing"  # of a request: how it makes a client train, which a site counts against its bound of rounds
    answers: tuple[str, ...] = ()  # of a request: the kinds of message that may answer it; empty: its own kind

    def plain(self) -> "MessageSpec":
        """Return the form of the message before codes were applied to it."""
        tensors: dict[str, TensorSpec] = {}
        for name, spec in self.tensors.items():
            inside = {inner: replace(coded.spec, reveals=spec.reveals) for inner, coded in spec.coded.items()}
            tensors |= inside or {name: spec}
        return replace(self, tensors=tensors)

    def rounds_in(self, message: Message) -> int:
        """Return how many rounds of training a request asks for."""
        if self.trains == "rounds":
            return sum(len(value) for value in message.facts.values() if isinstance(value, list))
        return 0 if self.trains == "nothing" else 1


def specs_of(tensors: Tensors, dtype: str | None = None) -> dict[str, TensorSpec]:
    """Return the specs that exactly these tensors fit, in their own dtype or in another."""
    return {name: TensorSpec(dtype=dtype or dtype_name(t), shape=tuple(t.shape)) for name, t in tensors.items()}


def dtype_name(tensor: Tensor) -> str:
    """Return "float32" for torch.float32, and so on."""
    return str(tensor.dtype).removeprefix("torch.")
