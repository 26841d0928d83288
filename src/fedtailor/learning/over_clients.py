"""Figures of many clients as one: over all their examples together, and over the clients."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..metrics import COUNTS, METRICS, directions
from ..metrics.figure import COUNTED_IN, NEAREST, OF_COUNTS, SAMPLE_LOSS, perplexity
from ..records import ClientId
from ..tasks.evaluation import Evaluation


def pool(sets: Iterable[Mapping[str, Any]], *, no_means: Collection[str] = ()) -> dict[str, float]:
    """Return the figures of several sets as if they were one.

    Numbers of things are added; a loss is weighted by the targets it counts, other means by texts or examples; perplexities follow from the
    pooled loss; BLEU, chrF and macro-F1 from the sums of their counts. Where a set does not report these, there is no such figure: the mean of
    several is not that of all.

    Args:
        no_means: metrics of the user's own that cannot be had over several sets.
    """
    rows = list(sets)
    totals = {name: sum(row.get(name, 0) for row in rows) for name in COUNTS if any(name in row for row in rows)}
    pooled: dict[str, float] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        if name in COUNTS or name in no_means or name.endswith(OF_COUNTS) or name == SAMPLE_LOSS or not _is_mean(name):
            continue
        having = [row for row in rows if name in row and _weight(name, row)]
        if name in METRICS and (from_counts := METRICS[name].from_counts):
            pooled |= _from_counts(name, from_counts, having)
        elif weight := sum(_weight(name, row) for row in having):
            pooled[name] = sum(row[name] * _weight(name, row) for row in having) / weight
    for metric in METRICS.values():
        if metric.per == "tokens" and metric.name in pooled:
            pooled[metric.name] = perplexity(pooled["loss"], 1)
        elif metric.per and metric.name in pooled:
            pooled[metric.name] = perplexity(pooled["loss"] * totals["tokens"], int(totals[metric.per]))
    return pooled | totals


def pooled_counts(sets: Iterable[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Return the sums of the counts that metrics are made of, of each metric that all sets report counts of."""
    rows = list(sets)
    names = [name for name in (rows[0] if rows else {}) if name.endswith(OF_COUNTS) and all(name in row for row in rows)]
    return {name: _sum([row[name] for row in rows]) for name in names if len({len(row[name]) for row in rows}) == 1}


def summarize_clients(
    per_client: Mapping[ClientId, Mapping[str, Any]], own: Mapping[str, bool] | None = None
) -> dict[str, dict[str, float]]:
    """Return the mean over clients, the worst client and the 10th percentile of each metric.

    The mean weighs all clients alike. The percentile counts from the bad end (with linear interpolation): a tenth of the clients
    is worse off. Counts, such as `tokens`, are left out; a client that lacks a metric does not enter it.

    Args:
        own: whether more is better, for each metric of the user's own.
    """
    summary: dict[str, dict[str, float]] = {"mean": {}, "worst": {}, "p10": {}}
    for name, higher_is_better in directions(own).items():
        values = [figures[name] for _, figures in sorted(per_client.items()) if name in figures]
        if not values:
            continue
        summary["mean"][name] = math.fsum(values) / len(values)
        summary["worst"][name] = min(values) if higher_is_better else max(values)
        summary["p10"][name] = float(np.percentile(values, 10 if higher_is_better else 90))
    return summary


def over_clients(per_client: Mapping[ClientId, Mapping[str, Any]], evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Return what `summarize_clients` does, and under "pooled" the figures over all examples together."""
    pooled = pool(per_client.values(), no_means=evaluation.no_means)
    return {**summarize_clients(per_client, evaluation.directions), "pooled": pooled}


def numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures that are numbers, without the counts that some are made of and what stands for a loss alone."""
    return {name: value for name, value in figures.items() if not name.endswith(OF_COUNTS) and name != SAMPLE_LOSS}


def _is_mean(name: str) -> bool:
    return name not in METRICS or METRICS[name].pooled_by != "nothing"


def _weight(name: str, row: Mapping[str, Any]) -> float:
    """Return what a figure of one set counts by: its targets, texts or examples."""
    known = METRICS.get(name)
    by = known.pooled_by if known else "samples" if name in NEAREST else "texts"
    count = row.get("texts" if known and known.of_texts and "texts" in row else COUNTED_IN[by])
    return float(row.get("examples", 0.0) if count is None else count)  # a client may have reported neither


def _from_counts(name: str, score: Callable[[Sequence[int]], float], rows: list[Mapping[str, Any]]) -> dict[str, float]:
    if len(rows) == 1:
        return {name: rows[0][name]}
    counts = [row.get(f"{name}{OF_COUNTS}") for row in rows]
    if not counts or any(not each or len(each) != len(counts[0] or ()) for each in counts):
        return {}
    return {name: score(_sum([each for each in counts if each]))}


def _sum(lists: list[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*lists, strict=True)]
