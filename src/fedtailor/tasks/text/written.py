"""What a model writes for a set of examples, and how good that is."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from ...metrics import METRICS, Bleu
from ...metrics.texts import TextScore
from ...records import Example
from ..losses import Progress
from ..task import Task, Writes, task_ends
from .generate import Decoding
from .generate import generate as generate_texts


def write_texts(
    model: nn.Module,
    task: Task,
    examples: Sequence[Example],
    tokenizer: Any,
    decoding: Decoding,
    *,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Return input, references and the model's text for each distinct prompt, in the order of their first examples."""
    if not isinstance(task, Writes):
        return []
    groups: dict[tuple[int, ...], dict[str, Any]] = {}
    for example, prompt in zip(examples, task.prompts(examples, tokenizer), strict=True):
        group = groups.setdefault(tuple(prompt), {"input": example.fields["input"], "references": []})
        group["references"] += [text for text in references_of(example) if text not in group["references"]]
    written = generate_texts(model, tokenizer, list(groups), decoding, progress, ends=task_ends(task, tokenizer))
    return [{**group, "text": text} for group, text in zip(groups.values(), written, strict=True)]


def references_of(example: Example) -> list[str]:
    """Return the texts that count as right: the example's references if it has any, else its target."""
    given = example.fields.get("references")
    if isinstance(given, str):
        given = [given]
    found = [str(text) for text in given if str(text).strip()] if isinstance(given, Iterable) else []
    return found or [str(example.fields["target"])]


def score_texts(
    wanted: Sequence[str], written: Sequence[str], references: Sequence[Sequence[str]], settings: Bleu
) -> dict[str, TextScore]:
    """Return those of the wanted metrics that score texts."""
    return {
        name: metric.of_texts(written, references, settings)
        for name, metric in METRICS.items()
        if name in wanted and metric.of_texts is not None
    }
