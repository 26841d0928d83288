"""What is known of each metric: its one home. A new metric is one record in `METRICS`, and what scores it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .answers import exact_match_of, f1_of
from .classes import accuracy, macro_f1
from .texts import Bleu, TextScore, bleu, bleu_of, chrf, chrf_of, rouge_score

COUNTS = ("examples", "tokens", "words", "texts", "samples")  # figures that are numbers of things
SAMPLE_LOSS = "sample_loss"  # the loss on those rows of a validation part that a round's gain is measured on
LOSS_BEFORE, LOSS_AFTER = (
    "validation_before",
    "validation_after",
)  # local training, as clients report it: columns of clients.parquet
OF_COUNTS = "_counts"  # ends the name of the counts that a metric is made of, which add up over clients
OF_REAL = "_real"  # ends the name of what real pictures have in the place of made ones: as many, drawn from the same set
CORE = ("loss", "examples", "tokens")  # figures that come with each other, and with those that are made of them
COUNTED_IN = {
    "targets": "tokens",
    "texts": "texts",
    "examples": "examples",
    "samples": "samples",
}  # what a metric is pooled by -> the figure that counts these

Place: TypeAlias = Literal["title", "line", "page", "table"]
PLACES: tuple[Place, ...] = ("title", "line", "page", "table")  # from the least room to the most


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: how it is called, which end of it is the good one, how it is scored, and what it is over several clients.

    It is a mean, pooled by the number of its targets, texts, examples or samples, unless it says otherwise: by `from_counts` it follows from sums
    of counts, by `per` from the pooled loss; pooled by nothing, there is none over several clients.
    """

    name: str
    title: str
    higher_is_better: bool
    digits: int = 3  # behind the point
    pooled_by: Literal["targets", "texts", "examples", "samples", "nothing"] = "examples"
    implied_by: str | None = None  # the metric that it follows from; it is left out where columns are few
    per: Literal["tokens", "words"] | None = None  # a perplexity: exp of the loss per one of these
    of_texts: Callable[[Sequence[str], Sequence[Sequence[str]], Bleu | None], TextScore] | None = None  # texts, references
    of_classes: Callable[[Sequence[int]], float] | None = None  # given `class_counts`
    of_pictures: Literal["server", "client", "both"] | None = None  # where it is measured of pictures that a model makes
    from_counts: Callable[[Sequence[int]], float] | None = None  # how it follows from sums of counts, if it is no mean
    counts: int = 0  # how many there are of these, of classes for each; 0: none are reported
    reveals: Literal["figures", "label-counts"] = "figures"  # what these counts reveal of a client's data
    shown: Place = "page"  # the smallest place that shows it: alone in a title, in a line, on a page, or in a table of all


METRICS: Mapping[str, Metric] = {
    metric.name: metric  # in the order of tables
    for metric in (
        Metric(name="loss", title="loss", higher_is_better=False, pooled_by="targets", shown="line"),
        Metric(
            name="perplexity",
            title="perplexity",
            higher_is_better=False,
            digits=1,
            pooled_by="targets",
            implied_by="loss",
            per="tokens",
            shown="title",
        ),
        Metric(
            name="perplexity_word",
            title="  per word",
            higher_is_better=False,
            digits=1,
            pooled_by="targets",
            implied_by="loss",
            per="words",
        ),
        Metric(
            name="bleu",
            title="BLEU",
            higher_is_better=True,
            digits=1,
            pooled_by="texts",
            of_texts=bleu,
            from_counts=bleu_of,
            counts=10,
            shown="line",
        ),
        Metric(
            name="chrf",
            title="chrF",
            higher_is_better=True,
            digits=1,
            pooled_by="texts",
            of_texts=chrf,
            from_counts=chrf_of,
            counts=18,
        ),
        Metric(
            name="rouge1",
            title="ROUGE-1",
            higher_is_better=True,
            pooled_by="texts",
            of_texts=rouge_score("rouge1"),
            shown="table",
        ),
        Metric(
            name="rouge2",
            title="ROUGE-2",
            higher_is_better=True,
            pooled_by="texts",
            of_texts=rouge_score("rouge2"),
            shown="table",
        ),
        Metric(
            name="rougeL", title="ROUGE-L", higher_is_better=True, pooled_by="texts", of_texts=rouge_score("rougeL"), shown="line"
        ),
        Metric(name="recall@1", title="recall@1", higher_is_better=True, shown="title"),
        Metric(name="recall@5", title="recall@5", higher_is_better=True),
        Metric(name="f1", title="F1 of words", higher_is_better=True, of_texts=f1_of, shown="title"),
        Metric(name="exact_match", title="exact match", higher_is_better=True, of_texts=exact_match_of),
        Metric(name="accuracy", title="accuracy", higher_is_better=True, of_classes=accuracy, shown="title"),
        Metric(
            name="macro_f1",
            title="macro-F1",
            higher_is_better=True,
            of_classes=macro_f1,
            from_counts=macro_f1,
            counts=3,
            reveals="label-counts",
        ),
        *(
            Metric(
                name=name, title=title, higher_is_better=False, digits=1, pooled_by="nothing", of_pictures="server", shown="line"
            )
            for name, title in (("cifar_fd", "cifar_fd"), ("fd", "Fréchet distance"))
        ),
        Metric(name="kid", title="kernel distance", higher_is_better=False, pooled_by="samples", of_pictures="both"),
        *(
            Metric(name=name, title=title, higher_is_better=True, pooled_by="nothing", of_pictures="server")
            for name, title in (
                ("precision", "precision"),
                ("recall", "recall"),
                ("coverage", "coverage"),
                ("class_entropy", "class entropy"),
                ("label_accuracy", "label accuracy"),
            )
        ),
        Metric(
            name="closer_to_training",
            title="closer to training",
            higher_is_better=False,
            pooled_by="samples",
            of_pictures="client",
        ),
    )
}
NEAREST = ("nearest_training", "nearest_held_out")  # distances that come with closer_to_training
OF_PICTURES = tuple(name for name, metric in METRICS.items() if metric.of_pictures is not None)


def directions(own: Mapping[str, bool] | None = None) -> dict[str, bool]:
    """Return whether more is better, for each metric and those of the user's `own`, in the order of tables."""
    return {name: metric.higher_is_better for name, metric in METRICS.items()} | dict(own or {})


def counts_of(classes: int) -> dict[str, int]:
    """Return how many counts each metric that is made of such reports, by their name, where a task has so many classes."""
    made = [metric for metric in METRICS.values() if metric.counts]
    return {f"{metric.name}{OF_COUNTS}": metric.counts * (classes if metric.of_classes else 1) for metric in made}


def is_implied(name: str) -> bool:
    """Return whether a metric follows from another one."""
    return name in METRICS and METRICS[name].implied_by is not None


def shown_in(place: Place) -> list[str]:
    """Return the metrics that a place has room for, in the order of tables."""
    return [name for name, metric in METRICS.items() if PLACES.index(metric.shown) <= PLACES.index(place)]


def leading(figures: Iterable[str]) -> str:
    """Return the one metric of some figures that is shown where there is room for one: of a title's if there is any, else the first."""
    found = set(figures)
    return next((name for name in (*shown_in("title"), *METRICS) if name in found), "loss")


def scores_answers(figures: Iterable[str]) -> bool:
    """Return whether a task that reports these figures has texts or classes that a metric of the user's own can score."""
    return any(name == "texts" or (name in METRICS and METRICS[name].of_classes is not None) for name in figures)


def needs_of(name: str) -> tuple[str, ...]:
    """Return the figures that must come with one, as what it is pooled by hangs on them."""
    if name not in METRICS:
        return CORE if name in (*CORE, "words") else ()
    metric = METRICS[name]
    if metric.of_pictures is not None:
        return ("samples",)
    return ("texts",) if metric.pooled_by == "texts" else tuple(dict.fromkeys((*CORE, metric.per or "tokens")))


def perplexity(loss_sum: float, count: int) -> float:
    """Return exp(loss_sum / count), per token or per word as `count` is; infinite where it is beyond all numbers."""
    mean = loss_sum / count
    return math.inf if mean >= 700 else math.exp(mean)
