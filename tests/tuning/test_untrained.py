import pytest
import torch
from transformers import AutoModelForCausalLM

from fedtailor.errors import SettingError
from fedtailor.tuning import Untrained, prompt_text
from fedtailor.tuning.untrained import TENSOR, bytes_tensor


def test_a_prompt_travels_and_is_saved_byte_for_byte(tiny_backbone_folder, tmp_path):
    model, tuning = AutoModelForCausalLM.from_pretrained(tiny_backbone_folder), Untrained()
    tuning.attach(model, seed=0)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert tuning.parameters(model) == {}
    assert tuning.exchanged(model)[TENSOR].shape == (0,)
    text = '{"instruction": "Où? \u2028 日本"}\r\n'
    tuning.receive(model, {TENSOR: bytes_tensor(text)})
    assert bytes(tuning.exchanged(model)[TENSOR].tolist()).decode() == text
    tuning.save(model, tmp_path / "prompt")
    assert (tmp_path / "prompt/prompt.json").read_bytes() == text.encode()
    tuning.receive(model, {TENSOR: bytes_tensor("")})
    tuning.restore(model, tmp_path / "prompt")
    assert prompt_text(model) == text
    with pytest.raises(SettingError, match="no UTF-8"):
        tuning.receive(model, {TENSOR: torch.tensor([255, 254], dtype=torch.uint8)})
    with pytest.raises(SettingError, match="cannot be read"):
        tuning.restore(model, tmp_path / "nowhere")
