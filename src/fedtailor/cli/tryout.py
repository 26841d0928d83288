"""fedtailor try: what the model writes now, beside what it wrote before."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import err, out

if TYPE_CHECKING:
    from ..job import Job

MOST_LABELS = 3


def tryout(
    run: Annotated[Path, typer.Argument(help="The folder of a run.", metavar="RUN")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="What to give the model; left out: read from the input, a line each.", metavar="TEXT..."),
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option(help="A value for another column of the template.", metavar="COLUMN=VALUE")
    ] = None,
) -> None:
    """Give the model a text: the base model's answer beside the customized one's."""
    from ..errors import SettingError
    from ..report.samples import sample

    given = texts or [line.strip() for line in sys.stdin if line.strip()]
    if not given:
        raise SettingError(f'there is no text to try; write one: fedtailor try {run} "def mean(values)"')
    more = dict(_pair(text) for text in field or [])
    with err().status("loading the model"):
        before, after = answers(run, given, more)
    for text, old, new in zip(given, before, after, strict=True):
        out().print("", sample({"input": text, "before": old, "after": new}))
    out().print()


def answers(folder: Path, texts: list[str], more: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return what the base model and the customized one answer to each text."""
    from ..export import open_run

    done = open_run(folder)
    model: Any = done.model
    after = _answer(done.job, model, done.backbone.tokenizer, texts, more)
    with done.untuned() as before:
        return _answer(done.job, before, done.backbone.tokenizer, texts, more), after


def _answer(job: "Job", model: Any, tokenizer: Any, texts: list[str], more: dict[str, str]) -> list[str]:
    from ..records import Example
    from ..tasks.generate import generate

    if job.task.backbone_kind == "classifier":
        return [_classes(model, tokenizer, text, job.task.max_tokens) for text in texts]
    if hasattr(job.task, "prompts"):
        examples = [Example(id=f"try-{i}", fields={"input": text, "target": "", **more}) for i, text in enumerate(texts)]
        prompts = job.task.prompts(examples, tokenizer)
    else:
        prompts = [tokenizer(text)["input_ids"] for text in texts]
    return generate(model, tokenizer, prompts, job.evaluation.generate)


def _classes(model: Any, tokenizer: Any, text: str, most: int) -> str:
    """Return the likeliest classes with their probabilities."""
    import torch

    device = next(model.parameters()).device
    with torch.inference_mode():
        logits = model(**tokenizer(text, truncation=True, max_length=most, return_tensors="pt").to(device)).logits[0]
    best = logits.float().softmax(-1).topk(min(MOST_LABELS, len(logits)))
    return ", ".join(
        f"{model.config.id2label[i]} {p:.0%}" for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )


def _pair(text: str) -> tuple[str, str]:
    from ..errors import SettingError

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingError(f"--field {text!r} is not COLUMN=VALUE; write --field module=numpy.linalg")
    return name, value
