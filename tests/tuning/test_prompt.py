from pathlib import Path

import pytest
import torch
from tuning_shapes import CPU, FOLDERS, IDS, disturb, load, logits

from fedtailor.errors import SettingError
from fedtailor.models import load_backbone
from fedtailor.tuning import Prompt

TUNING = Prompt(length=3)


@pytest.fixture(params=FOLDERS)
def folder(request):
    return request.getfixturevalue(FOLDERS[request.param])


@pytest.mark.parametrize(("setting", "value"), [("length", 0), ("length", True), ("length", "20"), ("start", "text")])
def test_wrong_settings_are_named(setting, value):
    with pytest.raises(SettingError, match=f"^{setting} is "):
        Prompt(**{setting: value})


def test_the_vectors_start_as_those_of_words(tiny_gpt2_folder):
    backbone = load(tiny_gpt2_folder)
    words = backbone.get_input_embeddings().weight
    vectors = TUNING.parameters(TUNING.attach(backbone, 0))["prompt_embeddings"]
    assert all((words == vector).all(1).any() for vector in vectors)


def test_a_prompt_of_words_is_those_words(tiny_backbone_folder):
    backbone = load(tiny_backbone_folder)
    before = torch.tensor([[40, 50, 60], [40, 50, 60]])
    wanted = backbone(input_ids=torch.cat([before, IDS], dim=1)).logits[:, 3:]
    model = TUNING.attach(backbone, 0)
    TUNING.parameters(model)["prompt_embeddings"].data.copy_(backbone.get_input_embeddings().weight[before[0]])
    torch.testing.assert_close(model(input_ids=IDS).logits[:, 3:], wanted, atol=1e-6, rtol=0)


def test_peft_loads_the_folder_without_us(folder, tmp_path):
    from peft import PeftModel

    model = TUNING.attach(load(folder), 0)
    disturb(TUNING, model)
    TUNING.save(model, tmp_path)
    theirs = PeftModel.from_pretrained(load(folder), tmp_path).eval()
    torch.testing.assert_close(logits(theirs), logits(model), atol=1e-6, rtol=0)


def test_a_decoder_with_a_class_head_is_refused_by_name(tiny_gpt2_folder):
    kind = {"kind": "classifier", "labels": ("a", "b"), "device": CPU, "base": Path(), "seed": 0}
    backbone = load_backbone(str(tiny_gpt2_folder), **kind).model
    with pytest.raises(SettingError, match=r"prompt and a GPT2ForSequenceClassification do not go together.*prefix or lora"):
        TUNING.attach(backbone, 0)


def bert(folder, marks):
    kind = {"kind": "classifier", "labels": ("a", "b"), "device": CPU, "base": Path(), "seed": 0}
    backbone = load_backbone(str(folder), **kind).model
    vars(backbone)["around_a_text"] = marks
    return backbone


@pytest.mark.parametrize(("start", "marked"), [("auto", True), ("marks", True), ("words", False), ("random", False)])
def test_where_a_head_reads_the_first_position_the_prompt_starts_as_marks(tiny_bert_folder, start, marked):
    backbone = bert(tiny_bert_folder, (5, 7))
    tokens = backbone.get_input_embeddings().weight
    tuning = Prompt(length=3, start=start)
    vectors = tuning.parameters(tuning.attach(backbone, 0))["prompt_embeddings"]
    assert torch.equal(vectors, tokens[[5, 7, 7]]) == marked


def test_a_tokenizer_without_marks_has_tokens_drawn_instead_or_is_refused(tiny_bert_folder):
    backbone = bert(tiny_bert_folder, (5, None))
    with pytest.raises(SettingError, match=r"start: marks and a BertForSequenceClassification do not go together.*start: words"):
        Prompt(length=3, start="marks").attach(backbone, 0)
    tokens = backbone.get_input_embeddings().weight
    vectors = TUNING.parameters(TUNING.attach(backbone, 0))["prompt_embeddings"]
    assert all((tokens == vector).all(1).any() for vector in vectors)
    assert len({tuple(vector.tolist()) for vector in vectors}) == 3


@pytest.mark.slow
def test_minilm_has_marks():
    labels = {"kind": "classifier", "labels": ("a", "b"), "device": CPU, "base": Path(), "seed": 0}
    loaded = load_backbone("minilm-l6", **labels)
    assert loaded.model.around_a_text == (101, 102)
