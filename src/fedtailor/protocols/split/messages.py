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
from ...messages import FactSpec, MessageSpec, TensorSpec, specs_of
from ...messages.facts import MOST_COUNT, asked, loss, whole
from ...messages.wires.table import TOKENS, Wire
from ...records import Message
from ...tensors import Tensors
from ..averaging.messages import DOWN_FACTS, TRAIN_FACTS
from .layout import CLASSES, TARGETS, Layout
from .reuse import MARK_CHARACTERS

MOMENTS, FREE = "moments/", "free_bytes"  # in front of an optimizer's moments of a weight; the fact that tells a client's memory
BEGIN, ACTIVATIONS, HIDDEN = "split-begin", "split-activations", "split-hidden"
LOSS_GRADIENT, GRADIENT, END = "split-loss-gradient", "split-gradient", "split-end"
AHEAD, DRAINED = "split-ahead", "split-drained"  # pipelined: go on with the next step meanwhile; all steps are under way
EXAMPLES = "examples"  # the name, in a manifest, of the most examples in a message

STEP = {"step": asked("step of the round that this belongs to, from 0")}
LENGTHS = {
    "lengths": FactSpec(
        type="list[int]",
        purpose="tokens of each sequence of the batch; 0 where the server keeps what it needs of it",
        reveals="work",
        least=0,
        most=MOST_COUNT,
    )
}
ROWS = {
    "rows": FactSpec(
        type="list[int]",
        purpose="numbers of the batch's examples in the client's training part: by them the server finds what it keeps",
        reveals="work",
        least=0,
        most=MOST_COUNT,
    )
}
KEPT = {
    "kept": FactSpec(
        type="str",
        reveals="nothing",
        purpose="a mark of the examples whose activations the server keeps",
        most_characters=MARK_CHARACTERS,
    )
}
CUT_FACT = {"cut": asked("blocks that the client holds in this round")}
FREE_FACT = {FREE: whole("memory that is free at the client in bytes: the server chooses the cut by it")}
LOSS = {"loss": loss("mean loss of the step, which the server computed", over="step")}
END_FACTS = {
    name: TRAIN_FACTS[name]
    for name in ("version", "examples", "targets", "tokens", "steps", "first_loss", "last_loss", "seconds")
}


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the form of messages depends on."""

    layouts: Sequence[Layout]  # one for each cut that a client may have
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

    def up(self, shared: Tensors) -> Mapping[str, MessageSpec]:
        """Return what may leave a client, by kind; `shared` are all weights, but for those that stay home."""
        width = self.width
        tensors = {**self.wire.specs(width), **self._labels()}
        if self.reuse:  # the server may have all
            tensors = {name: replace(spec, optional=True) for name, spec in tensors.items()}
        tensors |= self._moved(shared)
        found = {
            ACTIVATIONS: MessageSpec(tensors=tensors, facts=STEP | LENGTHS | (ROWS if self.reuse else {})),
            END: MessageSpec(tensors=self._weights(shared), facts=END_FACTS | (FREE_FACT if self.auto else {})),
        }
        found |= {DRAINED: MessageSpec(facts=STEP)} if self.pipelined else {}
        return found | (
            {LOSS_GRADIENT: MessageSpec(tensors=self.gradients.specs(width), facts=STEP)} if self.u_shaped else {}
        )  # fmt: skip

    def down(self, shared: Tensors) -> Mapping[str, MessageSpec]:
        """Return what may go to a client, by kind."""
        width, learns = self.width, {layout.learns_in_front for layout in self.layouts}
        gradient = dict(self.gradients.specs(width)) if True in learns else {}
        if len(learns) > 1:  # at some cuts nothing is trained in front
            gradient = {name: replace(spec, optional=True) for name, spec in gradient.items()}
        found = {
            BEGIN: MessageSpec(
                tensors={**self._weights(shared), **self._moved(shared)},
                facts=DOWN_FACTS | CUT_FACT | (KEPT if self.reuse else {}),
                trains="round",
                answers=(ACTIVATIONS,),
            ),
            GRADIENT: MessageSpec(
                tensors=gradient,
                facts=STEP if self.u_shaped else STEP | LOSS,
                answers=(ACTIVATIONS, DRAINED, END) if self.pipelined else (ACTIVATIONS, END),
            ),
        }
        if self.pipelined:
            found[AHEAD] = MessageSpec(facts=STEP, answers=(ACTIVATIONS, DRAINED))
        if self.u_shaped:
            found[HIDDEN] = MessageSpec(tensors=self.wire.specs(width), facts=STEP, answers=(LOSS_GRADIENT,))
        return found

    def _weights(self, shared: Tensors) -> dict[str, TensorSpec]:
        """Return the specs of a client's part; what is not its part at every cut is optional."""
        of_cuts = [{name for name in layout.trained_by("client") if name in shared} for layout in self.layouts]
        always = set.intersection(*of_cuts)
        specs = specs_of({name: shared[name] for name in sorted(set.union(*of_cuts))}, "float32")
        return {name: replace(spec, optional=name not in always) for name, spec in specs.items()}

    def _moved(self, shared: Tensors) -> dict[str, TensorSpec]:
        """Return the specs of moments that go with a weight whose owner changes."""
        specs = {name: spec for name, spec in self._weights(shared).items() if spec.optional}
        return {
            f"{MOMENTS}{field}/{name}": replace(spec, shape=(), most=MOST_COUNT) if field == "step" else spec
            for field in self.moments
            for name, spec in specs.items()
        }

    def _labels(self) -> Mapping[str, TensorSpec]:
        if self.u_shaped:
            return {}
        name, size = (CLASSES, EXAMPLES) if self.classes else (TARGETS, TOKENS)
        return {name: TensorSpec(dtype="int32", shape=(size,))}


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
