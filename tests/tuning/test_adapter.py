import pytest
import torch
from torch import nn
from tuning_shapes import FOLDERS, IDS, LABELS, disturb, load, logits

from fedtailor.errors import BackboneError, SettingError
from fedtailor.tensors import count
from fedtailor.tuning import Adapter, load_adapter
from fedtailor.tuning.adapter import Bottleneck


@pytest.fixture(params=FOLDERS)
def folder(request):
    return request.getfixturevalue(FOLDERS[request.param])


@pytest.mark.parametrize(
    ("setting", "value"),
    [("width", 0), ("width", 1.5), ("placement", "everywhere"), ("activation", None), ("dropout", 1.0), ("dropout", True)],
)
def test_wrong_settings_are_named(setting, value):
    with pytest.raises(SettingError, match=f"^{setting} is "):
        Adapter(**{setting: value})


def test_the_bottleneck_by_hand():
    # down: 2 * 3 + 1 * -1 + 0.5 = 5.5, relu keeps it; up: (1, -1) * 5.5 + (0.25, 0) = (5.75, -5.5); plus h = (8.75, -6.5)
    layer = Bottleneck(2, 1, "relu", 0.0)
    layer.down.weight.data, layer.down.bias.data = torch.tensor([[2.0, 1.0]]), torch.tensor([0.5])
    layer.up.weight.data, layer.up.bias.data = torch.tensor([[1.0], [-1.0]]), torch.tensor([0.25, 0.0])
    assert layer(torch.tensor([3.0, -1.0])).tolist() == [8.75, -6.5]


def test_trained_weights(tiny_gpt2_folder):
    # a bottleneck of width 4 on 16 values: 16 * 4 + 4 + 4 * 16 + 16 = 148; one in each of 2 layers, or two
    for placement, each in (("pfeiffer", 1), ("houlsby", 2)):
        tuning = Adapter(width=4, placement=placement)
        assert count(tuning.parameters(tuning.attach(load(tiny_gpt2_folder), 0))) == 148 * 2 * each


def test_where_the_adapters_are(folder):
    ends = {
        "llama": ("mlp.down_proj", "self_attn.o_proj"),
        "gpt2": ("mlp.c_proj", "attn.c_proj"),
        "bert": ("output.dense", "attention.output.dense"),
    }
    feeds, attends = next(ends[shape] for shape in ends if shape in folder.name)
    for placement, wanted in (("pfeiffer", 2), ("houlsby", 4)):
        model = Adapter(width=4, placement=placement).attach(load(folder), 0)
        names = [name.removesuffix(".adapter") for name, module in model.named_modules() if isinstance(module, Bottleneck)]
        assert len(names) == wanted
        assert sum(name.endswith(attends) for name in names) == (2 if placement == "houlsby" else 0)
        assert sum(name.endswith(feeds) for name in names) >= 2


def test_the_head_is_trained_too(tiny_bert_folder):
    tuning = Adapter(width=4)
    names = tuning.parameters(tuning.attach(load(tiny_bert_folder), 0))
    assert {name for name in names if "adapter" not in name} == {"classifier.weight", "classifier.bias"}


def test_the_loader_needs_no_job(folder, tmp_path):
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    tuning = Adapter(width=4, placement="houlsby", activation="tanh")
    model = tuning.attach(load(folder), 0)
    disturb(tuning, model)
    tuning.save(model, tmp_path)
    if "bert" in folder.name:
        base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(LABELS))
    else:
        base = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(logits(load_adapter(base.eval(), tmp_path)), logits(model))


def test_a_folder_of_pefts_is_no_adapter_of_ours(tiny_gpt2_folder, tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(SettingError, match=r"PeftModel\.from_pretrained"):
        load_adapter(load(tiny_gpt2_folder), tmp_path)


def test_dropout_acts_in_training_only(tiny_gpt2_folder):
    tuning = Adapter(width=4, dropout=0.5)
    backbone = load(tiny_gpt2_folder)
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model = tuning.attach(backbone, 0)
    disturb(tuning, model)
    assert torch.equal(model(input_ids=IDS).logits, model(input_ids=IDS).logits)
    model.train()
    assert not torch.equal(model(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_an_unknown_family_and_a_second_adapter_are_refused(tiny_gpt2_folder):
    with pytest.raises(SettingError, match=r"adapter and a Sequential do not go together.*tuning: lora"):
        Adapter().attach(nn.Sequential(nn.Linear(2, 2)), 0)
    with pytest.raises(BackboneError, match="has an adapter already"):
        Adapter().attach(Adapter().attach(load(tiny_gpt2_folder), 0), 0)
