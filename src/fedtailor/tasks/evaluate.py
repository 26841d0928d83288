"""How good a model is on a whole set of examples."""

from difflib import get_close_matches
from typing import Literal

import torch

from ..errors import SettingError
from ..metrics import METRICS
from ..metrics.figure import NEAREST, OF_COUNTS, SAMPLE_LOSS
from .evaluation import Evaluation, Measured, Pass
from .shard import Shard
from .task import Bench, Task, Writes
from .text.generate import evaluating


def metrics_of(task: Task, evaluation: Evaluation) -> tuple[str, ...]:
    """Return the names of the metrics that are asked for, those of the user's own among them.

    Raises:
        SettingError: if the evaluation names one that the task does not have.
    """
    if evaluation.metrics is None:
        return tuple(task.default_metrics)
    for name in evaluation.metrics:
        if isinstance(name, str) and name not in task.metrics:
            near = get_close_matches(str(name), task.metrics, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(task.metrics)}."
            raise SettingError(f"metrics names {name!r}, which the task does not have; {hint}")
    return tuple(metric if isinstance(metric, str) else metric.name for metric in evaluation.metrics)


def figure_names(task: Task, evaluation: Evaluation) -> list[str]:
    """Return the names of all that an evaluation may report, counts that metrics are made of among them."""
    asked = metrics_of(task, evaluation)
    counted = [f"{name}{OF_COUNTS}" for name in METRICS if name in asked and is_counted(name, evaluation)]
    own = [metric.name for metric in evaluation.own_metrics]
    pictures = pictures_measured(task, evaluation, "client")
    of_pictures = ["samples", *pictures, *(NEAREST if "closer_to_training" in pictures else ())] if pictures else []
    return [*task.figures, *own, *([SAMPLE_LOSS] if evaluation.local_gain else []), *counted, *of_pictures]


def is_counted(name: str, evaluation: Evaluation) -> bool:
    """Return whether the counts that a metric is made of are reported: if it is made of any, and classes may be counted or are not."""
    metric = METRICS.get(name)
    return metric is not None and metric.from_counts is not None and (metric.reveals == "figures" or evaluation.class_counts)


def writes_texts(task: Task, evaluation: Evaluation) -> bool:
    """Return whether the metrics that are asked for need texts that the model writes."""
    of_texts = {name for name, metric in METRICS.items() if metric.of_texts is not None}
    return isinstance(task, Writes) and bool(set(metrics_of(task, evaluation)) & of_texts or evaluation.own_metrics)


def pictures_measured(task: Task, evaluation: Evaluation, place: Literal["server", "client"]) -> list[str]:
    """Return the metrics that are asked for and need pictures which the model makes, as far as they are measured in this place."""
    asked = [name for name in metrics_of(task, evaluation) if name in METRICS]
    return [name for name in asked if METRICS[name].of_pictures in (place, "both")]


def makes(task: Task, evaluation: Evaluation, place: Literal["server", "client"]) -> bool:
    """Return whether the metrics that are asked for need what the model makes: texts, or pictures."""
    return writes_texts(task, evaluation) or bool(pictures_measured(task, evaluation, place))


def evaluate(worker: Bench, shard: Shard, how: Pass) -> Measured:
    """Return the figures of the model on the whole of `shard`, whose examples were kept when it was prepared; none of an empty one.

    `loss` is the mean in nats per counted target (a token, or a text for classification); how many there are, and all that costs
    nothing more, is always reported. Metrics of texts come only where texts are asked for. Examples that share a prompt are one text
    with several references, as in the E2E script; `texts` says how many there are.

    Raises:
        SettingError: if the evaluation names a metric that the task does not have, or one of the user's own fails.
    """
    metrics_of(worker.task, worker.evaluation)
    if not len(shard):
        return Measured(figures={})
    with torch.inference_mode(), evaluating(worker.model), worker.precision():
        return worker.task.measure(worker, shard, how)
