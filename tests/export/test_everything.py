"""Every tuning × family of models × task: loaded by transformers or PEFT alone it is the run's model, or it is refused by name.

And the code of each model card runs as it stands.
"""

import json
import re
from typing import Any

import pytest
import torch
from export_shapes import CLASSIFIERS, LABELS, TASKS, save_family, write_run

from fedtailor.errors import SettingError
from fedtailor.export import export
from fedtailor.records import Example
from fedtailor.tasks.text.generate import generate
from fedtailor.tuning import TUNINGS

TUNED: dict[str, dict[str, Any]] = {
    "lora": {"kind": "lora", "rank": 2},
    "lora-all": {"kind": "lora", "rank": 2, "targets": ["all-linear"]},
    "fed-sb": {"kind": "fed-sb", "rank": 4, "alpha": 4},
    "full": {"kind": "full"},
    "head": {"kind": "head"},
    "adapter": {"kind": "adapter", "width": 4, "placement": "houlsby"},
    "prefix": {"kind": "prefix", "length": 3, "hidden": 8},
    "prompt": {"kind": "prompt", "length": 3},
    **{
        f"peft-{kind.lower()}": {"kind": "peft", "type": kind, "arguments": arguments}
        for kind, arguments in {
            "IA3": {}, "VERA": {"r": 4}, "LOHA": {"r": 2}, "LOKR": {"r": 2}, "HRA": {"r": 2}, "OFT": {"oft_block_size": 4, "r": 0},
            "LN_TUNING": {}, "FOURIERFT": {"n_frequency": 16}, "C3A": {"block_size": 8}, "BOFT": {"boft_block_size": 4},
        }.items()
    },
    "peft-dora": {"kind": "peft", "type": "LORA", "arguments": {"r": 2, "use_dora": True}},
    "peft-pissa": {"kind": "peft", "type": "LORA", "arguments": {"r": 2, "init_lora_weights": "pissa"}},
    "peft-olora": {"kind": "peft", "type": "LORA", "arguments": {"r": 2, "init_lora_weights": "olora"}},
}  # fmt: skip
HEADS = {  # an adapter on the output head, which in llama-tied is also that of the embeddings
    "lora-head": {"kind": "lora", "rank": 2, "targets": ["q_proj", "lm_head"]},
    "fed-sb-head": {"kind": "fed-sb", "rank": 4, "alpha": 4, "targets": ["q_proj", "lm_head"]},
    "embeddings": {"kind": "peft", "type": "LORA", "arguments": {"r": 2, "target_modules": ["q_proj", "embed_tokens"]}},
}
POOLED = {"kind": "classification", "labels": list(LABELS), "max_tokens": 20, "pooling": "mean"}
FORMS = ("merged", "peft", "adapter", "pooled")
TEXT = "a text of yours"

FEW = ("lora", "full", "adapter", "prefix", "prompt", "peft-ia3", "peft-dora")
ALWAYS = [
    *((tuning, "llama-tied", "generation") for tuning in TUNED),
    *((tuning, family, "classification") for tuning in FEW for family in ("bert", "roberta")),
    *((tuning, "gpt2", "generation") for tuning in ("lora", "full", "fed-sb", "prefix", "peft-olora")),
    *((tuning, "distilbert", "classification") for tuning in ("lora", "adapter", "prompt")),
    *((tuning, "headed", "classification") for tuning in ("lora", "prompt")),
    *(("lora", "llama-untied", task) for task in ("chat", "language-modeling", "classification")),
    ("full", "gpt-neox", "generation"),
    *((tuning, "llama-tied", "generation") for tuning in HEADS),
    *(
        (tuning, family, "pooled")
        for tuning in ("lora", "full", "head", "adapter", "prefix")
        for family in ("bert", "modernbert")
    ),
]
GOES = {"classification": (*CLASSIFIERS, "llama-untied", "gpt2"), "pooled": ("bert", "modernbert", "gpt2", "llama-untied")}
CAUSAL = ("llama-tied", "llama-untied", "qwen2", "gpt2", "gpt-neox")
WHOLE = [(tuning, family, task) for tuning in TUNED for task in (*TASKS, "pooled") for family in GOES.get(task, CAUSAL)]
PAIRS = [*ALWAYS, *(pytest.param(case, marks=pytest.mark.large, id="-".join(case)) for case in WHOLE if case not in ALWAYS)]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    made: dict[str, Any] = {}

    def give(family):
        if family not in made:
            made[family] = save_family(family, tmp_path_factory.mktemp("families") / family)
        return made[family]

    return give


def test_every_kind_of_tuning_and_task_is_here():
    from fedtailor.tasks import TASKS as KINDS

    assert {tuning["kind"] for tuning in TUNED.values()} == set(TUNINGS)
    elsewhere = {
        "label-likelihood",
        "reference-likelihood",
        "image-generation",
    }  # a prompt: protocols/prompting; pictures: export/test_pictures
    elsewhere |= {
        "question-answering",
        "retrieval",
        "extraction",
    }  # nothing of models: protocols/retrieval; tasks/test_retrieval, test_extraction
    assert {task["kind"] for task in TASKS.values()} == set(KINDS) - elsewhere


@pytest.mark.few(16)
@pytest.mark.parametrize("case", PAIRS, ids="-".join)
def test_what_is_exported_answers_as_the_run_does_and_its_card_runs(case, folder_of, tmp_path, monkeypatch):
    tuning, family, task = case
    backbone, settings = folder_of(family), POOLED if task == "pooled" else TASKS[task]
    done, refusal = attempt(lambda: write_run(tmp_path / "run", backbone, tuning={**TUNED, **HEADS}[tuning], task=settings))
    if done is None:  # a pair that the tuning itself refuses by name
        assert re.search(r"tuning \w+( with type \w+)? and a \w+ do not go together", refusal), refusal
        return
    texts = [torch.tensor([[5, 17, 130, 240, 9, 77]]), torch.tensor([[33, 6]])]
    with torch.inference_mode():
        wanted = [done.model(input_ids=text).logits for text in texts]
    answer = answer_of(done)
    monkeypatch.chdir(tmp_path)
    written = []
    for form in FORMS:
        folder, refusal = attempt(lambda form=form: export(tmp_path / "run", to=form, folder=tmp_path / form))
        if folder is None:
            assert re.search(rf"^to {form}\b.*try --to \w+", refusal), refusal
            assert not (tmp_path / form).exists()
            continue
        written.append(form)
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "additional_chat_templates/tools.jinja"):
            assert (folder / name).read_bytes() == (backbone / name).read_bytes(), name
        found = run_card(folder, monkeypatch)
        with torch.inference_mode():
            for text, logits in zip(texts, wanted, strict=True):
                theirs = found["model"](input_ids=text).logits
                assert (theirs - logits).abs().max() <= 2e-5 * logits.abs().max()
        assert found["answer"] == answer
        if form == "merged":
            check_whole(folder, backbone, classifier=settings["kind"] == "classification")
    assert written, "no form works"
    assert set(written) <= {"pooled", "adapter"} if task == "pooled" and family != "modernbert" else "pooled" not in written


def attempt(make):
    """Return what is made and no refusal, or nothing and the refusal."""
    try:
        return make(), ""
    except SettingError as refusal:
        return None, str(refusal)


def run_card(folder, monkeypatch):
    """Run the code of a card, in which nothing but a line of it may need fedtailor, and return its names."""
    card = (folder / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    assert ("fedtailor" in code) == (folder.name in ("adapter", "pooled"))
    found: dict[str, Any] = {}
    exec(code, found)
    return found


def answer_of(done):
    """Return what the run's model answers to TEXT, by fedtailor's own way of prompts, decoding and classes."""
    task, tokenizer = done.job.task, done.backbone.processor
    if task.backbone == "classifier":
        text = tokenizer(TEXT, truncation=True, max_length=20, return_tensors="pt")
        with torch.inference_mode():
            scores = done.model(input_ids=text["input_ids"], attention_mask=text["attention_mask"]).logits[0]
        return LABELS[int(scores.argmax())]
    example = Example(id="a", fields={"input": TEXT, "target": "", "text": TEXT})
    prompts = task.prompts([example], tokenizer) if hasattr(task, "prompts") else [tokenizer(TEXT)["input_ids"]]
    return generate(done.model, tokenizer, prompts, done.job.evaluation.generate)[0]


def check_whole(folder, backbone, *, classifier):
    config, before = (json.loads((place / "config.json").read_text()) for place in (folder, backbone))
    if classifier:
        assert list(config["id2label"].values()) == list(LABELS)
    else:
        assert config.get("pad_token_id") == before.get("pad_token_id")
        settings = [place / "generation_config.json" for place in (folder, backbone)]
        assert settings[0].read_bytes() == settings[1].read_bytes()
