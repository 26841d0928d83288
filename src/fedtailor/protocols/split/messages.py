"""What server and client say to each other in split learning.

server                                    client
begin: its weights                   ->
                                     <-   activations (and labels, with-server)
hidden                               ->                                            u-shaped alone
                                     <-   loss-gradient                            u-shaped alone
gradient (of the activations)        ->
                                     <-   the next step's activations, or end: what changed in its weights

Pipelined, the server answers the first activations with ahead, and each later ones with the gradient of the step before, which it computed while
the client computed these; drained stands for activations when the last ones are under way.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ...errors import OffManifest
from ...messages import Call, FactSpec, Record, TensorSpec, Trains, specs_of
from ...messages.facts import MOST_COUNT, asked, loss, whole
from ...messages.record import Forms, fact, layout_of, tensors
from ...messages.wires.table import TOKENS, Wire
from ...records import Message
from ...tensors import Tensors
from ..averaging.messages import Train, Trained
from .layout import CLASSES, TARGETS, Layout
from .reuse import MARK_CHARACTERS

MOMENTS, FREE = "moments/", "free_bytes"  # in front of an optimizer's moments of a weight; the fact that tells a client's memory
BEGIN, ACTIVATIONS, HIDDEN = "split-begin", "split-activations", "split-hidden"
LOSS_GRADIENT, GRADIENT, END = "split-loss-gradient", "split-gradient", "split-end"
AHEAD, DRAINED = "split-ahead", "split-drained"  # pipelined: go on with the next step meanwhile; all steps are under way
EXAMPLES = "examples"  # the name, in a manifest, of the most examples in a message

STEP = asked("step of the round that this belongs to, from 0")
LENGTHS = FactSpec(
    type="list[int]",
    purpose="tokens of each sequence of the batch; 0 where the server keeps what it needs of it",
    reveals="work",
    least=0,
    most=MOST_COUNT,
)
ROWS = replace(
    LENGTHS, purpose="numbers of the batch's examples in the client's training part: by them the server finds what it keeps"
)
KEPT = FactSpec(
    type="str",
    reveals="nothing",
    purpose="a mark of the examples whose activations the server keeps",
    most_characters=MARK_CHARACTERS,
)
TRAIN, TRAINED = layout_of(Train).facts, layout_of(Trained).facts


@dataclass(frozen=True, kw_only=True)
class Begin(Record, kind=BEGIN):
    """The client's part of the shared weights, to begin a round with."""

    version: int = fact(TRAIN["version"])
    rate_factor: float = fact(TRAIN["rate_factor"])
    cut: int = fact(asked("blocks that the client holds in this round"))
    kept: str | None = fact(KEPT, sometimes=True)
    weights: Tensors = tensors()
    moments: Tensors = tensors(prefix=MOMENTS)


@dataclass(frozen=True, kw_only=True)
class Activations(Record, kind=ACTIVATIONS):
    """What the client's blocks make of a batch."""

    step: int = fact(STEP)
    lengths: list[int] = fact(LENGTHS)
    rows: list[int] | None = fact(ROWS, sometimes=True)
    activations: Tensors = tensors(reveals="activations")
    labels: Tensors = tensors(reveals="labels", names=(TARGETS, CLASSES))
    moments: Tensors = tensors(reveals="update", prefix=MOMENTS)


@dataclass(frozen=True, kw_only=True)
class Hidden(Record, kind=HIDDEN):
    """What the server's blocks make of them."""

    step: int = fact(STEP)
    hidden: Tensors = tensors()


@dataclass(frozen=True, kw_only=True)
class LossGradient(Record, kind=LOSS_GRADIENT):
    """The gradient of the loss, of what the server sent."""

    step: int = fact(STEP)
    loss_gradient: Tensors = tensors(reveals="gradients")


@dataclass(frozen=True, kw_only=True)
class Gradient(Record, kind=GRADIENT):
    """The gradient of the activations."""

    step: int = fact(STEP)
    loss: float | None = fact(loss("mean loss of the step, which the server computed", over="step"), sometimes=True)
    gradient: Tensors = tensors()


@dataclass(frozen=True, kw_only=True)
class Ahead(Record, kind=AHEAD):
    """The client may begin the next step meanwhile."""

    step: int = fact(STEP)


@dataclass(frozen=True, kw_only=True)
class Drained(Record, kind=DRAINED):
    """All steps of the client are under way."""

    step: int = fact(STEP)


@dataclass(frozen=True, kw_only=True)
class End(Record, kind=END):
    """What a round has changed in the client's part."""

    version: int = fact(TRAINED["version"])
    examples: int = fact(TRAINED["examples"])
    targets: int = fact(TRAINED["targets"])
    tokens: int = fact(TRAINED["tokens"])
    steps: int = fact(TRAINED["steps"])
    first_loss: float | None = fact(TRAINED["first_loss"])
    last_loss: float | None = fact(TRAINED["last_loss"])
    seconds: float = fact(TRAINED["seconds"])
    free_bytes: int | None = fact(
        whole("memory that is free at the client in bytes: the server chooses the cut by it"), sometimes=True
    )
    delta: Tensors = tensors(reveals="update")


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the form of messages depends on."""

    layouts: Sequence[Layout]  # one for each cut that a client may have
    batch_size: int  # most examples in a message
    longest: int  # most tokens of one of them
    wire: Wire  # of activations and hidden states
    gradients: Wire
    classes: bool  # the loss counts a class of each text, and not tokens
    reuse: bool = False  # activations of an example are sent once
    pipelined: bool = False  # a client begins a step before the gradient of the one before has come
    auto: bool = False  # the cut is chosen by what clients tell of themselves
    moments: Sequence[str] = ()  # that move with a weight whose owner changes: fields of the optimizer's state

    @property
    def u_shaped(self) -> bool:
        return self.layouts[0].labels == "u-shaped"

    @property
    def width(self) -> int:
        """Of the hidden states."""
        return self.layouts[0].cut_model.width

    def calls(self, shared: Tensors) -> list[Call]:
        """Return what the two may say to each other; `shared` are all weights, but for those that stay home."""
        lacking = {"kept": self.reuse, "rows": self.reuse, "loss": not self.u_shaped, "free_bytes": self.auto}
        forms, sizes = self._forms(shared), {TOKENS: self.batch_size * self.longest, EXAMPLES: self.batch_size}
        without = frozenset(name for name, has in lacking.items() if not has)

        def call(question: type[Record], *answers: type[Record], trains: Trains = "nothing") -> Call:
            return Call(question=question, answers=answers, forms=forms, without=without, trains=trains, sizes=sizes)

        found = [call(Begin, Activations, trains="round")]
        found += [call(Gradient, Activations, Drained, End) if self.pipelined else call(Gradient, Activations, End)]
        found += [call(Ahead, Activations, Drained)] if self.pipelined else []
        return found + ([call(Hidden, LossGradient)] if self.u_shaped else [])

    def _forms(self, shared: Tensors) -> Forms:
        width, learns = self.width, {layout.learns_in_front for layout in self.layouts}
        weights = self._weights(shared)
        gradient = dict(self.gradients.specs(width)) if True in learns else {}
        return {
            "weights": weights,
            "delta": weights,
            "moments": self._moments(weights),
            "activations": _maybe(self.wire.specs(width), self.reuse),  # the server may have all
            "labels": _maybe(self._labels(), self.reuse),
            "hidden": self.wire.specs(width),
            "loss_gradient": self.gradients.specs(width),
            "gradient": _maybe(gradient, len(learns) > 1),  # at some cuts nothing is trained in front
        }

    def _weights(self, shared: Tensors) -> dict[str, TensorSpec]:
        """Return the specs of a client's part; what is not its part at every cut is optional."""
        of_cuts = [{name for name in layout.trained_by("client") if name in shared} for layout in self.layouts]
        always = set.intersection(*of_cuts)
        specs = specs_of({name: shared[name] for name in sorted(set.union(*of_cuts))}, "float32")
        return {name: replace(spec, optional=name not in always) for name, spec in specs.items()}

    def _moments(self, weights: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
        """Return the specs of moments that go with a weight whose owner changes."""
        return {
            f"{field}/{name}": replace(spec, shape=(), most=MOST_COUNT) if field == "step" else spec
            for field in self.moments
            for name, spec in weights.items()
            if spec.optional
        }

    def _labels(self) -> Mapping[str, TensorSpec]:
        if self.u_shaped:
            return {}
        name, size = (CLASSES, EXAMPLES) if self.classes else (TARGETS, TOKENS)
        return {name: TensorSpec(dtype="int32", shape=(size,))}


def _maybe(specs: Mapping[str, TensorSpec], optional: bool) -> Mapping[str, TensorSpec]:
    return {name: replace(spec, optional=True) for name, spec in specs.items()} if optional else specs


def set_apart(tensors: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the optimizer's moments in a message, by "field/weight", and its other tensors."""
    moments = {name.removeprefix(MOMENTS): value for name, value in tensors.items() if name.startswith(MOMENTS)}
    return moments, {name: value for name, value in tensors.items() if not name.startswith(MOMENTS)}


def check_part(tensors: Tensors, layout: Layout, home: Collection[str]) -> None:
    """Raise OffManifest unless these are the weights of the client's part, but for those that stay home.

    Where cuts differ, the manifest allows the weights of any cut: what belongs to this one is checked here.
    """
    due = set(layout.trained_by("client")) - set(home)
    if set(tensors) != due:
        other = sorted(set(tensors) ^ due)
        raise OffManifest(f"weights of the first {layout.cut} blocks were due; {len(other)} differ, the first: {other[0]!r}")


def expect(message: Message, kind: str, step: int | None = None) -> Message:
    """Return the message if it is the one that is due.

    Raises:
        OffManifest: if another one came.
    """
    if message.kind != kind or (step is not None and message.facts["step"] != step):
        raise OffManifest(
            f"message {message.kind!r} of step {message.facts.get('step')} came where {kind!r} of step {step} was due; "
            "is every message answered once?"
        )
    return message
