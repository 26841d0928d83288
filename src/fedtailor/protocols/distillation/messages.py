"""The messages of distillation: which tensors and facts they carry."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ...messages import Call, FactSpec, Record, TensorSpec, specs_of
from ...messages.facts import CLIPPED, GRADIENT_NORM, MOST_COUNT, PEAK, asked, examples, flag, loss, seconds, share, whole
from ...messages.record import fact, tensor, tensors
from ...messages.work import LOSSES, LOSSES_SECONDS, VALIDATION_BEFORE, Work, figure_specs
from ...tensors import Tensors
from .terms import Terms

TRAIN, ALIGN = "train", "align"
PLACES = "places"  # the named size of the manifest: logits that a round has at most
SCORES = "rows/scores"  # one byte for each public row: how like a client's own it looks to that client
NOW, BEFORE = "rows/now", "rows/before"  # one bit for each public row: whether the round is about it, and the round before was
SCORED, MARKED = "public_rows", "public_row_bytes"  # named sizes of these
WEIGHTS = "weights/"  # in front of the names of weights that travel beside logits
FIT = FactSpec(
    type="float",
    purpose="how well a classifier distinguishes its examples from the public ones, AUC: whether the set fits",
    optional=True,
    least=0.0,
    most=1.0,
    reveals="public-fit",
    over="train",
)
COUNTS = FactSpec(
    type="list[int]",
    purpose="training examples with each label: the weights of classes, and whether the set fits",
    least=0,
    most=MOST_COUNT,
    reveals="label-counts",
)
NOISED = replace(
    COUNTS,
    purpose=f"{COUNTS.purpose}; with geometric noise, so that an example's label hardly shows (their number is reported as it is)",
)
VERSION = asked("rounds behind the server: which slice of the public set its logits are about")


@dataclass(frozen=True, kw_only=True)
class Lesson(Record):
    """What the server's model says of public examples, or its weights."""

    version: int = fact(VERSION)
    logits: Tensors = tensors()
    weights: Tensors = tensors(prefix=WEIGHTS)
    now: Tensor | None = tensor(NOW)
    before: Tensor | None = tensor(BEFORE)


@dataclass(frozen=True, kw_only=True)
class Learn(Lesson, kind=TRAIN):
    """The same, to align to and then to train on one's own examples."""

    rate_factor: float = fact(share("share of the learning rate in this round"))
    losses: Sequence[str] | None = fact(LOSSES)


@dataclass(frozen=True, kw_only=True)
class Align(Lesson, kind=ALIGN):
    """The same after the last round, to align to once more."""

    generate: int = fact(flag("1 if metrics of generated text are wanted"))


@dataclass(frozen=True, kw_only=True)
class Said(Record, kind=TRAIN):
    """What a client's own model says of public examples after training."""

    version: int = fact(asked("the round that was behind the server when it asked"))
    examples: int = fact(examples("training examples of the client: its weight, where the aggregation has weights"))
    targets: int = fact(whole("targets counted by the loss on its own examples in this round"))
    tokens: int = fact(whole("tokens trained on, its own and public ones: operations are counted from it"))
    forward_tokens: int = fact(whole("tokens of forward passes alone: operations are counted from it"))
    steps: int = fact(whole("optimizer steps taken, alignment among them"))
    first_loss: float | None = fact(loss("training loss of the first step on its own examples", over="step"))
    last_loss: float | None = fact(loss("training loss of the last step on its own examples", over="step"))
    gradient_norm: float | None = fact(GRADIENT_NORM)
    clipped: float | None = fact(CLIPPED)
    align_loss: float | None = fact(loss("distillation loss of the last step of alignment", over="public"))
    seconds: float = fact(seconds("time that alignment, training and logits took"))
    peak_bytes: int | None = fact(PEAK)
    public_fit: float | None = fact(FIT)
    validation_before: float | None = fact(VALIDATION_BEFORE)  # after: see the next evaluation
    evaluation_seconds: float | None = fact(LOSSES_SECONDS)
    label_counts: list[int] | None = fact(COUNTS, sometimes=True)
    said: Tensors = tensors(reveals="logits")
    weights: Tensors = tensors(prefix=WEIGHTS, reveals="weights")
    scores: Tensor | None = tensor(SCORES, reveals="public-fit")


@dataclass(frozen=True, kw_only=True)
class Aligned(Work, kind=ALIGN):
    """What the last alignment took, and how good the client's model is."""

    steps: int = fact(whole("optimizer steps of the last alignment"))
    tokens: int = fact(whole("tokens trained on: operations are counted from it"))
    seconds: float = fact(seconds("time that the last alignment took"))


def calls_of(terms: Terms, shared: Tensors, metrics: Iterable[str]) -> list[Call]:
    """Return what distillation sends: in a round, and for the last alignment.

    Args:
        shared: the weights, which travel beside logits where the aggregation needs them.
        metrics: what evaluation reports.
    """
    settings, public, logits = terms.settings, terms.public, terms.wire.specs(PLACES)
    weights = specs_of(shared) if terms.sends_weights else {}
    sizes = {PLACES: public.most_places}
    forms: dict[str, Mapping[str, TensorSpec]] = {"said": logits, "weights": weights}
    if not weights:
        forms["logits"] = {name: replace(spec, optional=True) for name, spec in logits.items()}  # none before round 1
    if settings.refine:
        sizes |= {SCORED: len(public.shard), MARKED: public.marks_size}
        mark = TensorSpec(dtype="uint8", shape=(MARKED,), optional=True)
        forms |= {"now": {NOW: mark}, "before": {BEFORE: mark}}
        forms["scores"] = {SCORES: TensorSpec(dtype="uint8", shape=(SCORED,), optional=True)}
    reported = {"public_fit": settings.public_fit, "label_counts": settings.label_counts}
    learn = Call(
        question=Learn,
        answers=(Said,),
        forms=forms,
        specs={} if settings.label_epsilon is None else {"label_counts": NOISED},
        without=frozenset(name for name, has in reported.items() if not has),
        trains="round",
        sizes=sizes,
    )
    specs = figure_specs(metrics, "of its own model")
    return [learn, Call(question=Align, answers=(Aligned,), forms=forms, specs=specs, trains="once", sizes=sizes)]
