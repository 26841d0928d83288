"""Rows of a head that was trained before belong to the classes that they were trained for."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tuning_shapes import CPU, IDS

from fedtailor.models import load_backbone
from fedtailor.models.labels import head_names, rows_by_name

NAMES = ("positive", "negative", "neutral")


def family(name, ids):
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        DistilBertConfig,
        DistilBertForSequenceClassification,
        LlamaConfig,
        LlamaForSequenceClassification,
        RobertaConfig,
        RobertaForSequenceClassification,
    )

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    made = {
        "bert": lambda: BertForSequenceClassification(BertConfig(**size, **ids)),
        "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**size, **ids)),
        "distilbert": lambda: DistilBertForSequenceClassification(DistilBertConfig(dim=16, hidden_dim=32, n_layers=1, n_heads=2, **ids)),
        "llama": lambda: LlamaForSequenceClassification(LlamaConfig(**size, **ids)),
    }  # fmt: skip
    return made[name]()


@pytest.fixture(scope="module", params=["bert", "roberta", "distilbert", "llama"])
def trained(request, tmp_path_factory):
    """Return a folder with a head for NAMES, and its scores on IDS as transformers computes them."""
    from conftest import save_tiny

    def make(ids):
        keep = {"vocab_size": ids["vocab_size"], "pad_token_id": ids["pad_token_id"]}
        model = family(
            request.param,
            {**keep, "num_labels": 3, "id2label": dict(enumerate(NAMES)), "label2id": {n: i for i, n in enumerate(NAMES)}},
        )
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
        return model

    folder = save_tiny(tmp_path_factory.mktemp("trained") / request.param, make)
    return folder, plain_scores(folder)


def plain_scores(folder):
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(folder)(input_ids=IDS[:1]).logits.detach()


def load(folder, labels):
    found = load_backbone(str(folder), kind="classifier", labels=labels, device=CPU, base=Path(), seed=0)
    assert list(found.model.config.id2label.values()) == list(labels)
    return found, found.model(input_ids=IDS[:1]).logits.detach()


@pytest.mark.parametrize("labels", [NAMES, ("negative", "neutral", "positive"), ("neutral", "positive")])
def test_rows_follow_names_and_not_their_places(trained, labels):
    folder, scores = trained
    found, ours = load(folder, labels)
    torch.testing.assert_close(ours, scores[:, [NAMES.index(label) for label in labels]], atol=1e-6, rtol=0)
    assert found.fresh == ()
    assert (found.note is None) == (labels == NAMES)


@pytest.mark.parametrize("labels", [("good", "bad", "none"), ("positive", "negative", "mixed"), (*NAMES, "mixed"), ("a", "b")])
def test_a_head_for_other_classes_is_drawn_again_with_a_note(trained, labels):
    folder, scores = trained
    found, ours = load(folder, labels)
    _, same = load(folder, labels)
    assert torch.equal(ours, same)
    assert any("classifier" in name or "score" in name for name in found.fresh)
    assert "positive, negative, neutral" in found.note
    assert "a new head is drawn" in found.note
    assert len(labels) != 3 or not torch.allclose(ours, scores, atol=1e-3)


def edited(folder, target, change):
    copy = shutil.copytree(folder, target)
    told = json.loads((copy / "config.json").read_text())
    change(told)
    (copy / "config.json").write_text(json.dumps(told))
    return copy


def test_unnamed_classes_are_their_numbers(trained, tmp_path):
    unnamed = edited(
        trained[0], tmp_path / "m", lambda told: (told.pop("id2label"), told.pop("label2id"), told.update(num_labels=3))
    )
    torch.testing.assert_close(load(unnamed, ("2", "0", "1"))[1], trained[1][:, [2, 0, 1]], atol=1e-6, rtol=0)
    assert "LABEL_0, LABEL_1, LABEL_2" in load(unnamed, NAMES)[0].note


def test_names_in_label2id_alone_are_read(trained, tmp_path):
    half = edited(trained[0], tmp_path / "m", lambda told: told.pop("id2label"))
    torch.testing.assert_close(load(half, NAMES[::-1])[1], trained[1].flip(1), atol=1e-6, rtol=0)


def test_a_body_without_a_head_is_as_it_was_whatever_its_config_says(tiny_bert_folder, tmp_path):
    named = edited(tiny_bert_folder, tmp_path / "m", lambda told: told.update(id2label={0: "x", 1: "y", 2: "z"}))
    found, _ = load(named, ("z", "x"))
    assert found.note is None
    assert "classifier" in found.fresh
    assert found.model.classifier.weight.shape == (2, 16)
    assert "classifier.weight" not in load_file(named / "model.safetensors")


def test_places_are_found_by_name():
    assert rows_by_name(("a", "b", "c"), ("c", "a")) == (2, 0)
    assert rows_by_name(("a", "b"), ("a", "B")) is None
    assert rows_by_name(("a", "a"), ("a",)) is None


def test_numbers_with_gaps_name_nothing(tmp_path):
    class Config:
        id2label = {0: "a", 2: "b"}  # noqa: RUF012

    assert head_names(Config(), tmp_path) == ()
