"""The usual sorts of facts, each with what it reveals of a client's data and the bounds that hold for it."""

from dataclasses import replace

from ..metrics.figure import COUNTS, OF_COUNTS, SAMPLE_LOSS
from .manifest import FactSpec, Over, Reveals

MOST_COUNT = 2**53  # whole numbers up to here are exact as floats, too
MOST_SECONDS = 1e9
LEAST_LOSS, MOST_LOSS = -1e-3, 1e6  # cross-entropies and divergences are not negative but for rounding
MOST_METRIC = 1e12


def whole(purpose: str, *, reveals: Reveals = "work", least: int = 0, most: int = MOST_COUNT, optional: bool = False) -> FactSpec:
    """Return the spec of a number of things, or of a whole number that says something of the work."""
    return FactSpec(type="int", purpose=purpose, reveals=reveals, least=least, most=most, optional=optional)


def flag(purpose: str) -> FactSpec:
    """Return the spec of 1 for yes and 0 for no."""
    return whole(purpose, most=1)


def seconds(purpose: str) -> FactSpec:
    """Return the spec of a duration."""
    return FactSpec(type="float", purpose=purpose, reveals="work", least=0.0, most=MOST_SECONDS)


def loss(purpose: str, *, over: Over) -> FactSpec:
    """Return the spec of a mean loss; it is optional, as a site's policy may withhold it."""
    return FactSpec(type="float", purpose=purpose, reveals="figures", over=over, least=LEAST_LOSS, most=MOST_LOSS, optional=True)


def metric(name: str, purpose: str, *, over: Over) -> FactSpec:
    """Return the spec of what an evaluation reports under `name`: a loss, a count, or a metric of the task."""
    if name in ("loss", SAMPLE_LOSS):
        return loss(purpose, over=over)
    if name.endswith(OF_COUNTS):
        return counts(name.removesuffix(OF_COUNTS), purpose, over=over)
    bounds = (0.0, float(MOST_COUNT)) if name in COUNTS else (-MOST_METRIC, MOST_METRIC)
    return FactSpec(
        type="float",
        purpose=purpose,
        reveals="figures",
        over=over,
        least=bounds[0],
        most=bounds[1],
        optional=True,
        fixed=name in COUNTS,
    )


def counts(metric: str, purpose: str, *, over: Over) -> FactSpec:
    """Return the spec of the counts that a metric is made of, which add up over clients; of classes they tell how often each occurs."""
    return FactSpec(
        type="list[int]",
        purpose=f"{purpose}: counts that {metric} is made of, which add up over clients",
        reveals="label-counts" if metric == "macro_f1" else "figures",
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


def asked(purpose: str, *, optional: bool = False) -> FactSpec:
    """Return the spec of a whole number that the server names, such as a version."""
    return whole(purpose, reveals="nothing", optional=optional)


PEAK = whole("peak memory, where the system can tell it per client", optional=True)
