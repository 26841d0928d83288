"""The messages of distillation: which tensors and facts they carry."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from torch import Tensor

from ...messages import FactSpec, Manifest, MessageSpec, TensorSpec, Trains, specs_of
from ...messages.facts import MOST_COUNT, PEAK, asked, examples, flag, loss, seconds, share, whole
from ...messages.wires.logits import LogitsWire
from ...tensors import Tensors
from ..averaging.messages import GAIN_FACTS, LOSSES_FACT
from ..evaluation import evaluation_specs
from ..personal import figure_specs

TRAIN, ALIGN = "train", "align"
PLACES = "places"  # the named size of the manifest: logits that a round has at most
SCORES = "rows/scores"  # one byte for each public row: how like a client's own it looks to that client
NOW, BEFORE = "rows/now", "rows/before"  # one bit for each public row: whether the round is about it, and the round before was
SCORED, MARKED = "public_rows", "public_row_bytes"  # named sizes of these
WEIGHTS = "weights/"  # in front of the names of weights that travel beside logits
LOCAL_FACTS = {
    "version": asked("the round that was behind the server when it asked"),
    "examples": examples("training examples of the client: its weight, where the aggregation has weights"),
    "targets": whole("targets counted by the loss on its own examples in this round"),
    "tokens": whole("tokens trained on, its own and public ones: operations are counted from it"),
    "forward_tokens": whole("tokens of forward passes alone: operations are counted from it"),
    "steps": whole("optimizer steps taken, alignment among them"),
    "first_loss": loss("training loss of the first step on its own examples", over="step"),
    "last_loss": loss("training loss of the last step on its own examples", over="step"),
    "align_loss": loss("distillation loss of the last step of alignment", over="public"),
    "seconds": seconds("time that alignment, training and logits took"),
    "peak_bytes": PEAK,
}
OWN_GAIN_FACTS = {
    name: GAIN_FACTS[name] for name in ("validation_before", "evaluation_seconds")
}  # after: see the next evaluation
FIT_FACT = FactSpec(
    type="float",
    purpose="how well a classifier tells its examples from the public ones, AUC: whether the set fits",
    optional=True,
    least=0.0,
    most=1.0,
    reveals="public-fit",
    over="train",
)
COUNT_FACT = FactSpec(
    type="list[int]",
    purpose="training examples with each label: the weights of classes, and whether the set fits",
    least=0,
    most=MOST_COUNT,
    reveals="label-counts",
)
NOISED_FACT = replace(
    COUNT_FACT,
    purpose=f"{COUNT_FACT.purpose}; with geometric noise, so that an example's label hardly shows (their number is told as it is)",
)
ALIGN_FACTS = {
    "steps": whole("optimizer steps of the last alignment"),
    "tokens": whole("tokens trained on: operations are counted from it"),
    "seconds": seconds("time that the last alignment took"),
    "evaluation_seconds": replace(seconds("time that evaluations took"), optional=True),
    "peak_bytes": PEAK,
}
VERSION = asked("rounds behind the server: which slice of the public set its logits are about")


def manifest_of(
    wire: LogitsWire,
    places: int,
    figures: Iterable[str],
    *,
    weights: Tensors | None = None,
    fit: bool = False,
    counts: bool = False,
    noised: bool = False,
    refined: Mapping[str, int] | None = None,
    gain: bool = False,
) -> Manifest:
    """Return exactly what distillation sends.

    Args:
        places: logits that a round has at most.
        figures: what evaluation reports.
        weights: those that travel beside logits; None: none do.
        fit: whether clients tell how well the public set fits.
        counts: whether clients tell their label counts, `noised` or as they are.
        refined: the sizes SCORED and MARKED, where public rows are drawn by what clients tell; None: they tell nothing of single rows.
        gain: whether clients measure what a round gains.
    """
    figures = list(figures)
    logits = wire.specs(PLACES)
    beside = {} if weights is None else specs_of(with_mark(weights))
    down = (
        {name: replace(spec, optional=True) for name, spec in logits.items()} if weights is None else beside
    )  # none before round 1
    scores = {} if refined is None else {SCORES: TensorSpec(dtype="uint8", shape=(SCORED,), optional=True)}
    marks = {} if refined is None else {name: TensorSpec(dtype="uint8", shape=(MARKED,), optional=True) for name in (NOW, BEFORE)}
    facts = LOCAL_FACTS | ({"public_fit": FIT_FACT} if fit else {})
    facts |= OWN_GAIN_FACTS if gain else {}
    facts |= {"label_counts": NOISED_FACT if noised else COUNT_FACT} if counts else {}
    told = figure_specs(figures, "of its own model")
    evaluate_up, evaluate_down = evaluation_specs({}, figures, home=True)
    return Manifest(
        up={
            TRAIN: MessageSpec(tensors={**logits, **beside, **scores}, facts=facts),
            "evaluate": evaluate_up,
            ALIGN: MessageSpec(facts=ALIGN_FACTS | told),
        },
        down={
            TRAIN: _down(
                down | marks,
                {"rate_factor": share("share of the learning rate in this round"), **(LOSSES_FACT if gain else {})},
                "round",
            ),
            "evaluate": evaluate_down,
            ALIGN: _down(down | marks, {"generate": flag("1 if metrics of generated text are wanted")}, "once"),
        },
        sizes={PLACES: places, **(refined or {})},
    )


def _down(tensors: Mapping[str, TensorSpec], facts: Mapping[str, FactSpec], trains: Trains) -> MessageSpec:
    return MessageSpec(tensors=tensors, facts={"version": VERSION, **facts}, trains=trains)


def with_mark(weights: Tensors) -> dict[str, Tensor]:
    """Return weights under the names that keep them apart from logits in a message."""
    return {f"{WEIGHTS}{name}": value for name, value in weights.items()}


def weights_in(tensors: Tensors) -> dict[str, Tensor]:
    """Return the weights in a message, by their own names."""
    return {name.removeprefix(WEIGHTS): value for name, value in tensors.items() if name.startswith(WEIGHTS)}


def rows_in(tensors: Tensors) -> dict[str, Tensor]:
    """Return what marks public rows in a message."""
    return {name: tensors[name] for name in (NOW, BEFORE) if name in tensors}


def logits_in(tensors: Tensors) -> dict[str, Tensor]:
    """Return the encoded logits in a message."""
    return {name: value for name, value in tensors.items() if name.startswith("logits/")}
