"""What server and client say to each other in split learning.

server                                    client
begin: its weights                   ->
                                     <-   activations (and labels, with-server)
hidden                               ->                                            u-shaped alone
                                     <-   loss-gradient                            u-shaped alone
gradient (of the activations)        ->
                                     <-   the next step's activations, or end: what changed in its weights
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...errors import OffManifest
from ...protection import FactSpec, MessageSpec, TensorSpec, specs_of
from ...records import Message
from ...tensors import Tensors
from ..averaging_messages import DOWN_FACTS, TRAIN_FACTS
from .layout import CLASSES, TARGETS, Layout
from .reuse import MARK_CHARACTERS
from .wire import TOKENS, Wire

BEGIN, ACTIVATIONS, HIDDEN = "split-begin", "split-activations", "split-hidden"
LOSS_GRADIENT, GRADIENT, END = "split-loss-gradient", "split-gradient", "split-end"
EXAMPLES = "examples"  # the name, in a manifest, of the most examples in a message

STEP = {"step": FactSpec(type="int", purpose="step of the round that this belongs to, from 0")}
LENGTHS = {
    "lengths": FactSpec(
        type="list[int]", purpose="tokens of each sequence of the batch; 0 where the server keeps what it needs of it"
    )
}
ROWS = {
    "rows": FactSpec(
        type="list[int]",
        purpose="numbers of the batch's examples in the client's training part: by them the server finds what it keeps",
    )
}
KEPT = {
    "kept": FactSpec(
        type="str", purpose="a mark of the examples whose activations the server keeps", most_characters=MARK_CHARACTERS
    )
}
LOSS = {"loss": FactSpec(type="float", purpose="mean loss of the step, which the server computed", optional=True)}
END_FACTS = {
    name: TRAIN_FACTS[name]
    for name in ("version", "examples", "targets", "tokens", "steps", "first_loss", "last_loss", "seconds")
}


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the form of messages depends on."""

    layout: Layout
    wire: Wire  # of activations and hidden states
    gradients: Wire
    classes: bool  # the loss counts a class of each text, and not tokens
    reuse: bool = False  # activations of an example are sent once

    @property
    def u_shaped(self) -> bool:
        return self.layout.labels == "u-shaped"

    def up(self, mine: Tensors) -> Mapping[str, MessageSpec]:
        """Return what may leave a client, by kind; `mine` are its part's weights, but for those that stay home."""
        width = self.layout.cut_model.width
        tensors = {**self.wire.specs(width), **self._labels()}
        if self.reuse:  # the server may have all
            tensors = {name: replace(spec, optional=True) for name, spec in tensors.items()}
        found = {
            ACTIVATIONS: MessageSpec(tensors=tensors, facts=STEP | LENGTHS | (ROWS if self.reuse else {})),
            END: MessageSpec(tensors=specs_of(mine, "float32"), facts=END_FACTS),
        }
        return found | (
            {LOSS_GRADIENT: MessageSpec(tensors=self.gradients.specs(width), facts=STEP)} if self.u_shaped else {}
        )  # fmt: skip

    def down(self, mine: Tensors) -> Mapping[str, MessageSpec]:
        """Return what may go to a client, by kind."""
        width = self.layout.cut_model.width
        gradient = self.gradients.specs(width) if self.layout.learns_in_front else {}
        found = {
            BEGIN: MessageSpec(tensors=specs_of(mine, "float32"), facts=DOWN_FACTS | (KEPT if self.reuse else {})),
            GRADIENT: MessageSpec(tensors=gradient, facts=STEP if self.u_shaped else STEP | LOSS),
        }
        return found | ({HIDDEN: MessageSpec(tensors=self.wire.specs(width), facts=STEP)} if self.u_shaped else {})

    def _labels(self) -> Mapping[str, TensorSpec]:
        if self.u_shaped:
            return {}
        name, size = (CLASSES, EXAMPLES) if self.classes else (TARGETS, TOKENS)
        return {name: TensorSpec(dtype="int32", shape=(size,))}


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
