"""The usual sorts of facts, each with what it reveals of a client's data and the bounds that hold for it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, TypeAlias

from ..diverged import MOST_LOSS
from ..metrics.figure import COUNTS, METRICS, OF_COUNTS, SAMPLE_LOSS, needs_of
from .specs import FactSpec, Over, Reveals

MOST_COUNT = 2**53  # whole numbers up to here are exact as floats, too
MOST_SECONDS = 1e9
LEAST_LOSS = -1e-3  # cross-entropies and divergences are not negative but for rounding
MOST_EPSILON = 1e6
MOST_METRIC = 1e12  # of either sign

Part: TypeAlias = Literal["validation", "test", "public", "retained"]  # of the examples that a client measures on


def whole(purpose: str, *, reveals: Reveals = "work", most: int = MOST_COUNT, optional: bool = False) -> FactSpec:
    """Return the spec of a number of things, or of a whole number that says something of the work."""
    return FactSpec(type="int", purpose=purpose, reveals=reveals, least=0, most=most, optional=optional)


def examples(purpose: str) -> FactSpec:
    """Return the spec of a client's number of training examples."""
    return FactSpec(type="int", purpose=purpose, reveals="examples", least=1, most=MOST_COUNT, fixed=True, of_examples=True)


def flag(purpose: str) -> FactSpec:
    """Return the spec of 1 for yes and 0 for no."""
    return whole(purpose, most=1)


def seconds(purpose: str) -> FactSpec:
    """Return the spec of a duration."""
    return FactSpec(type="float", purpose=purpose, reveals="work", least=0.0, most=MOST_SECONDS)


def loss(purpose: str, *, over: Over) -> FactSpec:
    """Return the spec of a mean loss; it is optional, as a site's policy may withhold it."""
    return FactSpec(type="float", purpose=purpose, reveals="figures", over=over, least=LEAST_LOSS, most=MOST_LOSS, optional=True)


def metrics(names: Iterable[str], part: Part, what: str) -> dict[str, FactSpec]:
    """Return the specs of all that an evaluation of one part may report, as PART.NAME; `what` goes into their purpose."""
    listed = [name for name in names if part == "validation" or name != SAMPLE_LOSS]
    found = {}
    for name in listed:
        needs = [other for other in needs_of(name) if other in listed and other != name]
        found[f"{part}.{name}"] = replace(
            metric(name, f"{name} {what}", over=part), needs=tuple(f"{part}.{each}" for each in needs)
        )
    return found


def metric(name: str, purpose: str, *, over: Over) -> FactSpec:
    """Return the spec of one figure of an evaluation: a loss, a count, or a metric of the task."""
    if name in ("loss", SAMPLE_LOSS):
        return loss(purpose, over=over)
    if name.endswith(OF_COUNTS):
        return counts(name.removesuffix(OF_COUNTS), purpose, over=over)
    is_count = name in COUNTS
    return FactSpec(
        type="float",
        purpose=purpose,
        reveals="figures",
        over=over,
        least=0.0 if is_count else -MOST_METRIC,
        most=float(MOST_COUNT) if is_count else MOST_METRIC,
        optional=True,
        fixed=is_count,
        of_examples=name == "examples",
    )


def counts(metric: str, purpose: str, *, over: Over) -> FactSpec:
    """Return the spec of the counts that a metric is made of, which add up over clients; of classes they say how often each occurs."""
    return FactSpec(
        type="list[int]",
        purpose=f"{purpose}: counts that {metric} is made of, which add up over clients",
        reveals=METRICS[metric].reveals,
        over=over,
        least=0,
        most=MOST_COUNT,
        optional=True,
    )


def shares(purpose: str) -> FactSpec:
    """Return the spec of shares of the learning rate, one for each round."""
    return replace(share(purpose), type="list[float]")


def share(purpose: str) -> FactSpec:
    """Return the spec of a share of the learning rate."""
    return FactSpec(type="float", purpose=purpose, reveals="nothing", least=0.0, most=1.0)


def spent(purpose: str) -> FactSpec:
    """Return the spec of an epsilon, which follows from a client's number of units and of rounds."""
    return FactSpec(type="float", purpose=purpose, reveals="examples", least=0.0, most=MOST_EPSILON, optional=True)


def asked(purpose: str, *, optional: bool = False) -> FactSpec:
    """Return the spec of a whole number that the server names, such as a version."""
    return whole(purpose, reveals="nothing", optional=optional)


CLIPPED = FactSpec(
    type="float",
    purpose="share of the steps whose gradient was clipped",
    reveals="figures",
    over="step",
    least=0.0,
    most=1.0,
    optional=True,
)
GRADIENT_NORM = FactSpec(
    type="float",
    purpose="norm of the gradient before clipping, mean over the steps",
    reveals="figures",
    over="step",
    least=0.0,
    most=MOST_METRIC,
    optional=True,
)
FREE = whole("memory that is free after the round", reveals="memory", optional=True)
PEAK = whole("peak memory, where the system reports it per client", optional=True)


MOST_SCALE = 1e6  # alpha / rank
SCALE = FactSpec(
    type="list[float]",
    purpose="alpha / rank of each LoRA module, in the order of names",
    reveals="nothing",
    least=0.0,
    most=MOST_SCALE,
    optional=True,
)
