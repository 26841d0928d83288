"""fedtailor try: what the model writes or draws now, beside what it did before."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import err, out
from .waiting import waiting

if TYPE_CHECKING:
    from ..export import Customized

MOST_LABELS = 3


def tryout(  # noqa: PLR0917 - Typer passes all by name
    run: Annotated[Path, typer.Argument(help="The folder of a run.", metavar="RUN")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="What to give the model; left out: read from the input, a line each.", metavar="TEXT..."),
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option(help="A value for another column of the template.", metavar="COLUMN=VALUE")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--out", help="Of a model that makes pictures: the PNG; left out: samples.png in the run's folder."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Of a model that makes pictures: steps from noise to a picture.")] = 20,
    guidance: Annotated[float, typer.Option(help="Of a model that makes pictures: 1, or more for more typical ones.")] = 1.0,
    count: Annotated[int, typer.Option(help="Of a model that makes pictures: how many for each label, before and after.")] = 8,
) -> None:
    """Give the model a text, or of one that makes pictures the names of labels: the base model's answer beside the customized one's."""
    from ..errors import SettingError
    from ..report.run.samples import sample
    from .draw import draw, makes_pictures

    if makes_pictures(run):
        draw(run, texts or [], picture or run / "samples.png", steps=steps, guidance=guidance, count=count)
        return
    given = texts or [line.strip() for line in sys.stdin if line.strip()]
    if not given:
        raise SettingError(f'there is no text to try; write one: fedtailor try {run} "def mean(values)"')
    more = dict(_pair(text) for text in field or [])
    with waiting(err(), "loading the model"):
        before, after = answers(run, given, more)
    for text, old, new in zip(given, before, after, strict=True):
        out().print("", sample({"input": text, "before": old, "after": new}))
    out().print()


def answers(folder: Path, texts: list[str], more: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return what the base model and the customized one answer to each text."""
    from ..clock import today
    from ..errors import SettingError
    from ..export import open_run
    from ..pairs import technique
    from ..running.resume import recorded_clock
    from ..tasks.task import at_moment

    done = open_run(folder)
    if technique("protocol", done.job.protocol).lack("prompts") is None:
        return _labels(done, done.job.task, texts)
    if why := getattr(done.job.task, "not_tried", None):
        raise SettingError(why)
    if hasattr(done.job.task, "marked"):
        return _marked(done, done.job.task, texts, more)
    task = at_moment(done.job.task, recorded_clock(folder) or today())
    prompts = _prompts(task, done.backbone.processor, texts, more)
    after = _answer(done, task, done.model, prompts)
    with done.untuned() as before:
        return _answer(done, task, before, prompts), after


def _prompts(task: Any, tokenizer: Any, texts: list[str], more: dict[str, str]) -> list[list[int]]:
    """Return the tokens that the model is given, made as those of training are."""
    from ..errors import SettingError
    from ..models.kinds import kind_of
    from ..records import Example
    from ..tasks.task import Writes
    from ..tasks.text.tokenization import encode, marks_of

    if empty := [text for text in texts if not text.strip()]:
        raise SettingError(f"there is nothing to try in {empty[0]!r}; write a text")
    if isinstance(task, Writes):
        examples = [Example(id=f"try-{i}", fields={"input": text, "target": "", **more}) for i, text in enumerate(texts)]
        return list(task.prompts(examples, tokenizer))
    if hasattr(task, "opening"):
        return [task.opening(text, tokenizer) for text in texts]
    before, behind = marks_of(tokenizer)  # a task of the user's own
    behind = [] if kind_of(task.backbone).causal else behind
    return [[*before, *tokens.ids, *behind] for tokens in encode(tokenizer, texts)]


def _answer(done: "Customized", task: Any, model: Any, prompts: list[list[int]]) -> list[str]:
    from ..models.kinds import kind_of
    from ..tasks.task import task_ends
    from ..tasks.text.generate import generate

    if not kind_of(task.backbone).causal:
        return [_classes(model, prompt) for prompt in prompts]
    tokenizer = done.backbone.processor
    return generate(model, tokenizer, prompts, done.job.evaluation.generate, ends=task_ends(task, tokenizer))


def _labels(done: "Customized", task: Any, texts: list[str]) -> tuple[list[str], list[str]]:
    """Return the likeliest labels without a prompt, and with the one that the run found."""
    import torch

    from ..prompting import prompt_from_json
    from ..prompting.endpoint_reader import label_reader
    from ..tuning import prompt_text

    found = prompt_text(done.model)
    if not task.words:
        return _behind(done, task, texts, found)
    words, reader = prompt_from_json(found).labels, label_reader(task, done.model, done.backbone.processor)
    given = [task.shortened(text, done.backbone.processor) for text in texts]

    def answers(prompt: str) -> list[str]:
        rows = reader.in_place(prompt, words, calibrate=task.calibrate).scores(given)
        return [_likeliest(torch.tensor(row).softmax(-1), words) for row in rows]

    return answers(""), answers(found)


def _marked(done: "Customized", task: Any, questions: list[str], more: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the words of a text that answer each question, by a head that knows nothing yet and by the trained one."""
    from ..errors import SettingError

    text = more.get("text", "")
    if not text.strip():
        raise SettingError(
            'a reader needs a text to answer from: --field text="..."; documents are asked with it by fedtailor rag ask NAME "..." --reader RUN'
        )
    pairs = [(question, text) for question in questions]

    def answers(model: Any) -> list[str]:
        return [text[first:last] for first, last, _ in task.marked(model, done.backbone.processor, pairs)]

    after = answers(done.model)
    with done.untuned() as before:
        return answers(before), after


def _behind(done: "Customized", task: Any, texts: list[str], found: str) -> tuple[list[str], list[str]]:
    """Return what is written for each text without a prompt, and behind the one that the run found."""
    from ..prompting import Prompt, ReferenceReading, prompt_from_json
    from ..tasks.text.generate import first_line, generate

    tokenizer, decoding = done.backbone.processor, done.job.evaluation.generate
    given = [task.shortened(text, tokenizer) for text in texts]

    def written(prompt: Prompt) -> list[str]:
        reading = ReferenceReading(done.model, tokenizer, prompt)
        return [first_line(text) for text in generate(done.model, tokenizer, [reading.ids(text) for text in given], decoding)]

    return written(Prompt(instruction="")), written(prompt_from_json(found))


def _likeliest(shares: Any, names: Sequence[str]) -> str:
    """Return the likeliest of the names with their probabilities [C]."""
    best = shares.topk(min(MOST_LABELS, len(shares)))
    return ", ".join(f"{names[i]} {p:.0%}" for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True))


def _classes(model: Any, ids: list[int]) -> str:
    """Return the likeliest classes with their probabilities."""
    import torch

    device = next(model.parameters()).device
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids], device=device)).logits[0]
    return _likeliest(logits.float().softmax(-1), [model.config.id2label[number] for number in range(len(logits))])


def _pair(text: str) -> tuple[str, str]:
    from ..errors import SettingError

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingError(f"--field {text!r} is not COLUMN=VALUE; write --field module=numpy.linalg")
    return name, value
