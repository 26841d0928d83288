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
