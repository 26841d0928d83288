"""Tiny jobs that provoke the failures which papers describe, and healthy ones: for the study (benchmarks/diagnoses.py) and its test."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from fedtailor import run
from fedtailor.learning import training
from fedtailor.protection import Gate
from fedtailor.report import Run, read_run
from fedtailor.tasks.text.memory_limit import memory_limit

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from conftest import save_tiny, train_tokenizer
from distilling import class_data, class_job
from jobs import FOODS, NAMES, tiny_job

FIRST = "client-00"
PLACES = "town hills north river".split()
Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A tiny job, or several that are compared, made of a usual one by other settings."""

    provokes: str = ""  # the signature that it is to show; empty: it is healthy
    classifies: bool = False  # a distillation with a tiny BERT; otherwise averaging with a tiny Llama
    runs: Sequence[Settings] = ({},)  # what is set in each of its runs, by dotted names
    names: int = 4  # of restaurants, 24 examples each
    guessed: bool = False  # the food is not in the input, so that a client knows its own alone
    public: Sequence[Mapping[str, str]] = ()  # a public set of its own
    around: Callable[[], AbstractContextManager[None]] = field(default=nullcontext)  # what happens to the machine meanwhile

    def carry_out(self, backbones: Path, seed: int, out: Path) -> list[Run]:
        """Run it in folders under `out`, those that are there are read; `backbones` is what `make_backbones` filled."""
        found = []
        for number, changes in enumerate(self.runs):
            folder = out / str(number)
            if not (folder / "summary.json").is_file():
                shutil.rmtree(folder, ignore_errors=True)  # of a run that was interrupted
                with self.around():
                    run(self._job(backbones, {**changes, "seed": seed}, out), data=self._data(), out=folder)
            found.append(read_run(folder))
        return found

    def _data(self) -> Any:
        return class_data() if self.classifies else meals(NAMES[: self.names], guessed=self.guessed)

    def _job(self, backbones: Path, changes: Settings, out: Path) -> Any:
        if self.public:
            out.mkdir(parents=True, exist_ok=True)
            (out / "public.jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.public))
            changes = {**changes, "protocol.public": str(out.resolve() / "public.jsonl")}
        job = class_job(backbones / "bert") if self.classifies else tiny_job(backbones / "llama")
        for name, value in {**({} if self.classifies else USUAL), **changes}.items():
            job = job.replace(name, value)
        return job


USUAL: Settings = {
    "clients.min_examples": 2,
    "protocol.local.batch_size": 8,
    "protocol.local.learning_rate": 0.01,
    "tuning.dropout": 0.0,
    "evaluation.metrics": ["loss"],
    "evaluation.local_gain": True,
    "stop.rounds": 6,
    "stop.keep": "last",
}


def meals(names: Sequence[str], form: str = "The {} serves {} food in the {}.", *, guessed: bool = False) -> list[dict[str, str]]:
    """Return examples in the manner of E2E."""
    return [
        {"input": f"name[{n}], {'' if guessed else f'food[{f}], '}area[{p}]", "target": form.format(n, f, p), "food": f}
        for n in names
        for f in FOODS
        for p in PLACES
    ]


def make_backbones(folder: Path, steps: int = 200) -> None:
    """Save a tiny Llama that has learned to write of meals in another form, and a tiny BERT that knows nothing."""
    from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

    tokenizer = train_tokenizer()
    texts = [f"{row['input']}\n{row['target']}<|im_end|>" for row in meals(NAMES, "Eat {1} at {0}, {2}.")]
    batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 256,
    }

    def llama(ids: dict[str, Any]) -> Any:
        model = LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=2, tie_word_embeddings=True, **ids))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        for _ in range(steps):
            rows = torch.randperm(len(texts))[:16]
            loss = model(batch["input_ids"][rows], attention_mask=batch["attention_mask"][rows], labels=labels[rows]).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return model

    def bert(ids: dict[str, Any]) -> Any:
        known = {name: ids[name] for name in ("vocab_size", "pad_token_id")}
        return BertModel(BertConfig(**{**sizes, "hidden_size": 16, "intermediate_size": 32}, **known))

    for name, make in (("llama", llama), ("bert", bert)):
        if not (folder / name / "config.json").is_file():
            save_tiny(folder / name, make)


@contextmanager
def slow_link(wait_s: float = 0.1) -> Iterator[None]:
    """Make every answer of a client wait, as on a link far away; the engine counts it as time of the exchange."""
    arrive = Gate.enter_server

    def late(self: Gate, *args: Any, **kwargs: Any) -> Any:
        time.sleep(wait_s)
        return arrive(self, *args, **kwargs)

    with patch.object(Gate, "enter_server", late):
        yield


@contextmanager
def little_memory(most_bytes: int = 4 << 20) -> Iterator[None]:
    """Leave the first client so much memory for its training, before others leave freed memory to it; on Linux alone, elsewhere nothing is limited."""
    train = training.train_locally

    def limited(work: Any) -> Any:
        with memory_limit(most_bytes) if work.client == FIRST else nullcontext():
            return train(work)

    with patch.object(training, "train_locally", limited):
        yield


def split(local: Settings, **more: Any) -> Settings:
    """Return the settings of a split after the first block."""
    return {"protocol": {"kind": "split", "cut": 1, "local": local, **more}}


FULL = {"tuning": "full"}
BY_FOOD = {"clients.partition": {"kind": "skew", "by": "food", "share": 1.0}}
FEW_KINDS = {"clients.partition": {"kind": "dirichlet", "by": "food", "alpha": 0.1}, "clients.min_examples": 8}
TEXTS = {"evaluation.metrics": ["rougeL"], "evaluation.generate.max_new_tokens": 28, "clients.test_share": 0.3}
SMALL_BATCHES = {"protocol.local.batch_size": 4, "stop.rounds": 3, "evaluation.local_gain": False}
FINETUNE = {"kind": "finetune", "epochs": 1, "keep": "best"}
DISTILS = {"kind": "distillation", "public": "rest", "local": {"learning_rate": 0.01, "batch_size": 8}}

PROVOKING: Mapping[str, Case] = {
    "more clients": Case(
        provokes="sparse-clients", names=2, runs=[{**FULL, "stop.rounds": 2, "clients.count": count} for count in (2, 12)]
    ),
    "one client a round, each of its own kind": Case(
        provokes="seeds-differ",
        runs=[{**FULL, **BY_FOOD, "clients.per_round": 1, "protocol.local.learning_rate": 0.1, "stop.rounds": 2}],
    ),
    "a learning rate of 1": Case(provokes="stalls-early", runs=[{**FULL, "protocol.local.learning_rate": 1.0}]),
    "a wide prefix network": Case(
        provokes="out-of-memory",
        runs=[
            {
                "tuning": {"kind": "prefix", "hidden": 3000, "layers": 3},
                "clients.count": 2,
                "stop.rounds": 1,
                "protocol.local.steps": 1,
            }
        ],
        around=little_memory,
    ),
    "20 epochs, one client a round": Case(
        provokes="unstable-rounds", runs=[{**FULL, **FEW_KINDS, "clients.per_round": 1, "protocol.local.epochs": 20}]
    ),
    "long fine-tuning on few examples": Case(
        provokes="personal-worse",
        names=2,
        runs=[{**FULL, "clients.count": 8, "personalization": {**FINETUNE, "epochs": 20, "keep": "last", "learning_rate": 0.3}}],
    ),
    "texts at a learning rate of 0.5": Case(
        provokes="collapsed-texts", runs=[{**FULL, **TEXTS, "protocol.local.learning_rate": 0.5, "stop.rounds": 2}]
    ),
    "a food that each client knows alone": Case(
        provokes="plateau",
        guessed=True,
        names=8,
        runs=[{**FULL, **BY_FOOD, "protocol.local.epochs": 3, "protocol.local.learning_rate": 0.003, "stop.rounds": 12}],
    ),
    "factors that differ": Case(
        provokes="unequal-ranks",
        guessed=True,
        runs=[{**BY_FOOD, "protocol.local.learning_rate": 0.1, "protocol.local.epochs": 5, "stop.rounds": 2}],
    ),
    "public texts of another kind": Case(
        provokes="public-set", classifies=True, public=[{"text": row["target"]} for row in meals(NAMES[:2])]
    ),
    "whole rows of logits": Case(
        provokes="large-logits",
        runs=[{"protocol": DISTILS, "data.limit": {"train": 60}, "stop.rounds": 1, "evaluation.local_gain": False}],
    ),
    "one channel in 25": Case(
        provokes="quantized-activations",
        runs=[split({"learning_rate": 0.3, "batch_size": 4}, wire={"kind": "top-channels", "share": 0.04}, feedback=False)],
    ),
    "a link of 100 ms, examples one by one": Case(
        provokes="slow-exchange",
        runs=[{**split({"learning_rate": 0.01, "batch_size": 1, "steps": 5}), "stop.rounds": 1}],
        around=slow_link,
    ),
}

HEALTHY: Mapping[str, Case] = {
    "LoRA": Case(),
    "a prefix": Case(runs=[{"tuning": {"kind": "prefix", "hidden": 32}}]),
    "half of the clients": Case(runs=[{"clients.fraction": 0.5}]),
    "a third of the clients": Case(runs=[{**FULL, "clients.count": 6, "clients.per_round": 2}]),
    "split, int8": Case(runs=[split({"learning_rate": 0.01, "batch_size": 8}, wire={"kind": "int8"})]),
    "split, bfloat16": Case(runs=[split({"learning_rate": 0.02, "batch_size": 4}, wire={"kind": "bfloat16"})]),
    "distillation": Case(classifies=True),
    "distillation, four clients": Case(classifies=True, runs=[{"clients.count": 4}]),
    "fine-tuned at clients": Case(runs=[{"personalization": FINETUNE, "stop.rounds": 4}]),
    "Ditto": Case(runs=[{"personalization": {"kind": "ditto", "pull": 0.1}, "stop.rounds": 4}]),
    "texts": Case(runs=[{**FULL, **TEXTS}]),
    "texts of LoRA": Case(runs=[{**TEXTS, "tuning.rank": 8}]),
    "skewed data": Case(
        runs=[{"clients.partition": {"kind": "dirichlet", "by": "food", "alpha": 0.3}, "clients.min_examples": 8}]
    ),
    "data without mixing": Case(runs=[BY_FOOD]),
    "two and four clients": Case(names=8, runs=[{**FULL, **SMALL_BATCHES, "clients.count": count} for count in (2, 4)]),
    "three and six clients": Case(names=8, runs=[{**SMALL_BATCHES, "clients.count": count} for count in (3, 6)]),
}
