"""Finished runs without training: any tuning on any family of models, with what training would have moved."""

import json
from pathlib import Path
from typing import Any

import torch
from conftest import save_tiny

from fedtailor.export import Customized, open_run
from fedtailor.job import Job
from fedtailor.tuning import written

LABELS = ("card", "straße", "top-up")
TASKS = {
    "generation": {"kind": "generation", "template": "{input} ->\n{target}"},
    "chat": {"kind": "generation", "chat": True},
    "language-modeling": {"kind": "language-modeling"},
    "classification": {"kind": "classification", "labels": list(LABELS), "max_tokens": 20},
}
SMALL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 256,
}


def make_family(name: str, ids: dict[str, Any]) -> Any:
    """Return a random model of a family; names that end in -body have no head."""
    import transformers as library

    plain = {key: ids[key] for key in ("vocab_size", "pad_token_id")}
    grouped = {**SMALL, "num_key_value_heads": 1}
    kinds = {
        "llama-tied": lambda: library.LlamaForCausalLM(library.LlamaConfig(**grouped, tie_word_embeddings=True, **ids)),
        "llama-untied": lambda: library.LlamaForCausalLM(library.LlamaConfig(**grouped, tie_word_embeddings=False, **ids)),
        "qwen2": lambda: library.Qwen2ForCausalLM(library.Qwen2Config(**grouped, tie_word_embeddings=True, **ids)),
        "gpt2": lambda: library.GPT2LMHeadModel(library.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=256, **ids)),
        "gpt-neox": lambda: library.GPTNeoXForCausalLM(library.GPTNeoXConfig(**SMALL, **ids)),
        "bert": lambda: library.BertModel(library.BertConfig(**SMALL, **plain)),
        "roberta": lambda: library.RobertaModel(library.RobertaConfig(**{**SMALL, "max_position_embeddings": 260}, **plain)),
        "distilbert": lambda: library.DistilBertModel(
            library.DistilBertConfig(dim=16, hidden_dim=32, n_layers=2, n_heads=2, max_position_embeddings=256, **plain)
        ),
        "modernbert": lambda: library.ModernBertModel(library.ModernBertConfig(**SMALL, **ids, reference_compile=False)),
        "headed": lambda: library.BertForSequenceClassification(
            library.BertConfig(**SMALL, **plain, id2label={0: "x", 1: "y"}, label2id={"x": 0, "y": 1})
        ),
    }
    return kinds[name]()


CLASSIFIERS = ("bert", "roberta", "distilbert", "modernbert", "headed")


def save_family(name: str, folder: Path) -> Path:
    """Save a random model whose tokenizer pads on the left, as that of many decoders does, and has a second chat template."""
    save_tiny(folder, lambda ids: make_family(name, ids))
    told = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**told, "padding_side": "left"}))
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tools.jinja").write_text("{{ tools }}")
    return folder


def write_run(folder: Path, backbone: Path, *, tuning: dict[str, Any], task: dict[str, Any]) -> Customized:
    """Write what a finished run leaves, with trained weights that are not those of the start, and return it, opened."""
    from fedtailor.models import load_backbone
    from fedtailor.tasks import pooling_of

    job = Job.from_dict(
        {"backbone": str(backbone), "task": task, "tuning": tuning, "data": {"train": "t.jsonl"}, "evaluation": {"generate": {"max_new_tokens": 4}}},
        base=folder.parent,
    )  # fmt: skip
    labels = LABELS if job.task.backbone == "classifier" else ()
    loaded = load_backbone(
        str(backbone), kind=job.task.backbone, labels=labels, pooling=pooling_of(job.task), device=torch.device("cpu"), base=Path(), seed=0
    )  # fmt: skip
    model = job.tuning.attach(loaded.model, 0)
    draw = torch.Generator().manual_seed(7)
    for parameter in job.tuning.parameters(model).values():
        parameter.data.add_(torch.randn(parameter.shape, generator=draw) * 0.1)
    folder.mkdir(parents=True)
    job.tuning.save(model, folder / written(job.tuning).folder)
    (folder / "job.yaml").write_text(job.to_yaml())
    (folder / "summary.json").write_text(json.dumps({"rounds": 1, "backbone_sha256": loaded.hashes["weights"]}))
    return open_run(folder)
