"""The part of a model card that shows how to use what was exported: its code runs as it stands, beside the folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from ..job import Job
from ..models.kinds import kind_of
from ..pictures import Canvas
from ..tasks.asked import most_tokens_of, speaks_chat, template_of
from .pictures import picture_format, picture_usage

TEXT = "a text of yours"  # in the code that shows how to use it


@dataclass(frozen=True, kw_only=True)
class Use:
    """How an exported folder is loaded and used."""

    to: str  # the form: merged, pooled, peft or adapter
    name: str  # of the folder
    labels: Sequence[str]  # of a classifier
    bottleneck: bool  # whether the adapter is of fedtailor's own layers
    pooled: bool  # whether fedtailor.models.pool_mean belongs to it
    config: Mapping[str, str]  # fields of the backbone's configuration that are read otherwise
    marks: Sequence[int] = ()  # tokens before every prompt
    ends: Sequence[int] = ()  # tokens that end a text
    pad: int | None = None
    canvas: Canvas | None = None  # of pictures, where the model makes these


def prompt_format(job: Job, use: Use) -> str:
    """Return what the model is given and what it answers, in words."""
    task: Any = job.task
    if use.canvas is not None:
        return picture_format(use.canvas, use.labels)
    if use.labels:
        most = most_tokens_of(task)
        cut = f"; what is longer than {most} tokens loses its end" if most else ""
        names = "\n".join(f"{number}. {name}" for number, name in enumerate(use.labels))
        return f"A text goes in{cut}. Out comes a score for each class, in this order, counted from 0:\n\n{names}"
    if speaks_chat(task):
        return "The text goes in as the user's turn of the backbone's own chat template, with the opening of the answer behind it. The answer comes out."
    template = template_of(task)
    if template is None:
        return "A text goes in, and what comes out continues it."
    return f"The text goes in by this template, up to `{{target}}`, which is what comes out:\n\n```\n{template}\n```"


def usage(job: Job, use: Use) -> str:
    """Return code that loads the folder and lets the model answer once."""
    if use.canvas is not None:
        code = picture_usage(use.name, use.canvas, use.labels, whole=use.to == "merged", bottleneck=use.bottleneck)
        return f"```python\n{code}\n```"
    lines = [*_loading(use, kind_of(job.task.backbone).auto), ""]
    lines += _classify(job) if use.labels else _write(job, use)
    return "```python\n" + "\n".join(lines) + "\n```"


def _loading(use: Use, auto: str) -> list[str]:
    whole = use.to in ("merged", "pooled")
    imports = [
        *([] if whole else ["import json", ""]),
        "import torch",
        *(["from fedtailor.models import pool_mean"] if use.pooled else []),
        *(["from fedtailor.tuning import load_adapter"] if use.bottleneck else []),
        *([] if whole or use.bottleneck else ["from peft import PeftModel"]),
        f"from transformers import {auto}, AutoTokenizer",
        "",
        f"folder = {_quoted(use.name)}  # this one",
    ]
    pool = ["pool_mean(model)  # its head reads the mean over tokens; without this it answers otherwise"] if use.pooled else []
    if whole:
        labels = ["labels = [model.config.id2label[number] for number in range(model.config.num_labels)]"] if use.labels else []
        return [
            *imports,
            f"model = {auto}.from_pretrained(folder).eval()",
            *pool,
            "tokenizer = AutoTokenizer.from_pretrained(folder)",
            *labels,
        ]
    more = [f"{name}={_quoted(value)}" for name, value in use.config.items()]
    if use.labels:
        more += ["num_labels=len(labels)", "id2label=dict(enumerate(labels))", "ignore_mismatched_sizes=True"]
    load = "load_adapter" if use.bottleneck else "PeftModel.from_pretrained"
    return [
        *imports,
        'backbone = json.load(open(f"{folder}/adapter_config.json"))["base_model_name_or_path"]  # or where you have it, with weights of the hash above',
        *(['labels = json.load(open(f"{folder}/labels.json"))'] if use.labels else []),
        f"model = {auto}.from_pretrained({', '.join(['backbone', 'dtype=torch.float32', *more])})",
        *pool,
        f"model = {load}(model, folder).eval()",
        "tokenizer = AutoTokenizer.from_pretrained(backbone)",
    ]


def _classify(job: Job) -> list[str]:
    most = most_tokens_of(job.task)
    cut = f", truncation=True, max_length={most}" if most else ""
    return [
        f'text = tokenizer({_quoted(TEXT)}{cut}, return_tensors="pt")',
        "with torch.inference_mode():",
        '    scores = model(input_ids=text["input_ids"], attention_mask=text["attention_mask"]).logits[0].softmax(-1)',
        "answer = labels[int(scores.argmax())]",
        'print(answer, f"{scores.max():.0%}")',
    ]


def _write(job: Job, use: Use) -> list[str]:
    decoding = job.evaluation.generate
    options = [
        "do_sample=False",
        f"max_new_tokens={decoding.max_new_tokens}",
        *([f"num_beams={decoding.beams}, length_penalty={float(decoding.length_penalty)}"] if decoding.beams > 1 else []),
        *([f"no_repeat_ngram_size={decoding.no_repeat_ngram}"] if decoding.no_repeat_ngram else []),
        f"eos_token_id={list(use.ends)}",
        f"pad_token_id={use.pad}",
    ]
    return [
        *_prompt(job.task, use.marks),
        "with torch.inference_mode():",
        "    written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), " + ", ".join(options) + ")",
        "answer = tokenizer.decode(written[0, ids.shape[1]:], skip_special_tokens=True).strip()",
        "print(answer)",
    ]


def _prompt(task: Any, marks: Sequence[int]) -> list[str]:
    """Return code that makes `ids`, the tokens of one prompt."""
    if speaks_chat(task):
        return [
            f'turns = [{{"role": "user", "content": {_quoted(TEXT)}}}]',
            "prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)",
            'ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]',
        ]
    parts = list(Formatter().parse(template_of(task) or "{input}{target}"))
    names = dict.fromkeys(name for _, name, _, _ in parts if name not in (None, "target"))
    pieces = [
        piece
        for literal, name, _, _ in parts
        for piece in ([_quoted(literal)] if literal else []) + ([] if name in (None, "target") else [f"fields[{_quoted(name)}]"])
    ]
    begin = "".join(f"{mark}, " for mark in marks)
    return [
        f"fields = {{{', '.join(f'{_quoted(name)}: {_quoted(TEXT)}' for name in names)}}}",
        f"prompt = {' + '.join(pieces)}",
        f'ids = torch.tensor([[{begin}*tokenizer(prompt, add_special_tokens=False)["input_ids"]]])',
    ]


def _quoted(text: Any) -> str:
    return json.dumps(str(text), ensure_ascii=False)
