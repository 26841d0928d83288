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

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from ...errors import OffManifest
from ...messages import Call, FactSpec, Record, TensorSpec, Trains, specs_of
from ...messages.facts import MOST_COUNT, MOST_METRIC, asked, loss, whole
from ...messages.record import Forms, fact, layout_of, tensors
from ...messages.wires.table import TOKENS
from ...tensors import Tensors
from ..averaging.messages import Train, Trained
from .layout import CLASSES, TARGETS
from .reuse import MARK_CHARACTERS
from .side import MOMENTS, moment_fields
from .terms import Terms

EXAMPLES = "examples"  # the name, in a manifest, of the most examples in a message

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
class Begin(Record, kind="split-begin"):
    """The client's part of the shared weights, to begin a round with."""

    version: int = fact(TRAIN["version"])
    rate_factor: float = fact(TRAIN["rate_factor"])
    cut: int = fact(asked("blocks that the client holds in this round"))
    kept: str | None = fact(KEPT, sometimes=True)
    weights: Tensors = tensors()
    moments: Tensors = tensors(prefix=MOMENTS)


@dataclass(frozen=True, kw_only=True)
class OfStep(Record):
    """What belongs to one step."""

    step: int = fact(asked("step of the round that this belongs to, from 0"))


@dataclass(frozen=True, kw_only=True)
class Activations(OfStep, kind="split-activations"):
    """What the client's blocks make of a batch."""

    lengths: list[int] = fact(LENGTHS)
    rows: list[int] | None = fact(ROWS, sometimes=True)
    activations: Tensors = tensors(reveals="activations")
    labels: Tensors = tensors(reveals="labels", names=(TARGETS, CLASSES))
    moments: Tensors = tensors(reveals="update", prefix=MOMENTS)  # of weights that were the client's before


@dataclass(frozen=True, kw_only=True)
class Hidden(OfStep, kind="split-hidden"):
    """What the server's blocks make of them."""

    hidden: Tensors = tensors()


@dataclass(frozen=True, kw_only=True)
class LossGradient(OfStep, kind="split-loss-gradient"):
    """The gradient of the loss, of what the server sent."""

    loss_gradient: Tensors = tensors(reveals="gradients")


@dataclass(frozen=True, kw_only=True)
class Gradient(OfStep, kind="split-gradient"):
    """The gradient of the activations."""

    loss: float | None = fact(loss("mean loss of the step, which the server computed", over="step"), sometimes=True)
    gradient: Tensors = tensors()


@dataclass(frozen=True, kw_only=True)
class Ahead(OfStep, kind="split-ahead"):
    """The client may begin the next step meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Drained(OfStep, kind="split-drained"):
    """All steps of the client are under way."""


def lost(what: str) -> FactSpec:
    """Return the spec of what a code loses of the tables that a client sends, as a share of their norm."""
    purpose = f"what the code loses of {what}, as a share of their norm, mean over the steps"
    return FactSpec(type="float", purpose=purpose, reveals="figures", over="step", least=0.0, most=MOST_METRIC, optional=True)


@dataclass(frozen=True, kw_only=True)
class End(Record, kind="split-end"):
    """What a round has changed in the client's part."""

    version: int = fact(TRAINED["version"])
    examples: int = fact(TRAINED["examples"])
    targets: int = fact(TRAINED["targets"])
    tokens: int = fact(TRAINED["tokens"])
    steps: int = fact(TRAINED["steps"])
    first_loss: float | None = fact(TRAINED["first_loss"])
    last_loss: float | None = fact(TRAINED["last_loss"])
    seconds: float = fact(TRAINED["seconds"])
    wire_error: float | None = fact(lost("activations"))
    gradient_error: float | None = fact(lost("the loss's gradient"))
    free_bytes: int | None = fact(
        whole("memory that is free at the client in bytes: the server chooses the cut by it"), sometimes=True
    )
    delta: Tensors = tensors(reveals="update")


ToClient: TypeAlias = Begin | Ahead | Hidden | Gradient
ToServer: TypeAlias = Activations | LossGradient | Drained | End
S = TypeVar("S", bound=OfStep)


def calls_of(terms: Terms, shared: Tensors) -> list[Call]:
    """Return what the two may say to each other; `shared` are all weights, but for those that stay home."""
    reuse, u_shaped = terms.settings.reuse, terms.u_shaped
    lacking = {"kept": reuse, "rows": reuse, "loss": not u_shaped, "free_bytes": terms.auto}
    lacking |= {"wire_error": not terms.wire.exact, "gradient_error": u_shaped and not terms.gradient_wire.exact}
    forms = _forms(terms, shared)
    sizes = {TOKENS: terms.local.batch_size * terms.longest, EXAMPLES: terms.local.batch_size}
    without = frozenset(name for name, has in lacking.items() if not has)

    def call(question: type[Record], *answers: type[Record], trains: Trains = "nothing") -> Call:
        return Call(question=question, answers=answers, forms=forms, without=without, trains=trains, sizes=sizes)

    pipelined = terms.settings.pipelined
    found = [call(Begin, Activations, trains="round")]
    found += [call(Gradient, Activations, Drained, End) if pipelined else call(Gradient, Activations, End)]
    found += [call(Ahead, Activations, Drained)] if pipelined else []
    return found + ([call(Hidden, LossGradient)] if u_shaped else [])


def _forms(terms: Terms, shared: Tensors) -> Forms:
    """Return the forms of the tensors in each field; where cuts differ, of those at any cut."""
    layouts = [terms.layout.moved(cut) for cut in terms.all_cuts]
    width, learns = terms.layout.cut_model.width, {layout.learns_in_front for layout in layouts}
    parts = [{name for name in layout.trained_by("client") if name in shared} for layout in layouts]
    weights = _weights(shared, parts)
    gradient = dict(terms.gradient_wire.specs(width)) if True in learns else {}
    return {
        "weights": weights,
        "delta": weights,
        "moments": _moments(terms, weights),
        "activations": _maybe(terms.wire.specs(width), terms.settings.reuse),  # the server may have all
        "labels": _maybe(_labels(terms), terms.settings.reuse),
        "hidden": terms.wire.specs(width),
        "loss_gradient": terms.gradient_wire.specs(width),
        "gradient": _maybe(gradient, len(learns) > 1),  # at some cuts nothing is trained in front
    }


def _weights(shared: Tensors, parts: list[set[str]]) -> dict[str, TensorSpec]:
    """Return the specs of a client's part, whose names at each cut are given; what is not its part at every cut is optional."""
    always = set.intersection(*parts)
    specs = specs_of({name: shared[name] for name in sorted(set.union(*parts))}, "float32")
    return {name: replace(spec, optional=name not in always) for name, spec in specs.items()}


def _moments(terms: Terms, weights: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
    """Return the specs of moments that go with a weight whose owner changes."""
    moves = terms.auto and terms.local.keep_optimizer
    return {
        f"{field}/{name}": replace(spec, shape=(), most=MOST_COUNT) if field == "step" else spec
        for field in (moment_fields(terms.local) if moves else ())
        for name, spec in weights.items()
        if spec.optional
    }


def _labels(terms: Terms) -> Mapping[str, TensorSpec]:
    if terms.u_shaped:
        return {}
    name, size = (CLASSES, EXAMPLES) if terms.of_texts else (TARGETS, TOKENS)
    return {name: TensorSpec(dtype="int32", shape=(size,))}


def _maybe(specs: Mapping[str, TensorSpec], optional: bool) -> Mapping[str, TensorSpec]:
    return {name: replace(spec, optional=True) for name, spec in specs.items()} if optional else specs


def expect(said: Record, form: type[S], step: int) -> S:
    """Return what was said if it is what is due: of this form, and of this step.

    Raises:
        OffManifest: if something else came.
    """
    if not isinstance(said, form) or said.step != step:
        named = f" of step {said.step}" if isinstance(said, OfStep) else ""
        raise OffManifest(
            f"message {said.kind!r}{named} came where {form.kind!r} of step {step} was due; is every message answered once?"
        )
    return said
