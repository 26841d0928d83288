import pytest
import torch
from tuning_shapes import EVERY, FOLDERS, disturb, load, logits

from fedtailor.errors import BackboneError, SettingError
from fedtailor.tuning import Full, Lora, PeftMethod

METHODS = [name for name, tuning in EVERY.items() if tuning.kind == "peft"]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"type": ""}, "^type is the name"),
        ({"type": 3}, "^type is the name"),
        ({"type": "LOKRR"}, "^type 'LOKRR' is no method of PEFT's; did you mean LOKR"),
        ({"type": "PREFIX_TUNING"}, "^type PREFIX_TUNING cannot be used here; use tuning: prefix"),
        ({"type": "adalora"}, "^type ADALORA cannot be used here; use tuning: lora"),
        ({"type": "LOHA", "arguments": {"rr": 4}}, "^arguments names 'rr'.*did you mean 'r'"),
        ({"type": "LOHA", "arguments": {"task_type": "CAUSAL_LM"}}, "^arguments names 'task_type'.*leave it out"),
        ({"type": "LOHA", "arguments": ["r"]}, "^arguments is a mapping"),
        ({"type": "OFT", "arguments": {"r": 4, "oft_block_size": 4}}, "^arguments do not make a PEFT OFT"),
    ],
)
def test_wrong_settings_of_peft_are_named(settings, text):
    with pytest.raises(SettingError, match=text):
        PeftMethod(**settings)


@pytest.mark.parametrize("start", ["eva", "corda", "lora_ga", "EVA"])
def test_a_start_that_wants_a_pass_over_the_data_is_refused(start):
    with pytest.raises(
        SettingError, match=rf"^arguments\.init_lora_weights: {start} begins with what a pass over the data finds"
    ):
        PeftMethod(type="LORA", arguments={"r": 2, "init_lora_weights": start})


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", ["llama", "bert"])
def test_peft_loads_the_folder_without_us(name, shape, request, tmp_path):
    from peft import PeftModel

    folder, tuning = request.getfixturevalue(FOLDERS[shape]), EVERY[name]
    model = tuning.attach(load(folder), 3)
    disturb(tuning, model)
    tuning.save(model, tmp_path)
    theirs = PeftModel.from_pretrained(load(folder), tmp_path).eval()
    torch.testing.assert_close(logits(theirs), logits(model), atol=1e-5, rtol=0)


def test_the_scale_of_lora_factors_is_known(tiny_backbone_folder):
    dora = PeftMethod(type="LORA", arguments={"r": 2, "lora_alpha": 6, "use_dora": True})
    assert set(dora.scale(dora.attach(load(tiny_backbone_folder), 0)).values()) == {3.0}
    assert EVERY["loha"].scale(EVERY["loha"].attach(load(tiny_backbone_folder), 0)) == {}


def test_a_target_that_is_not_there_is_refused(tiny_backbone_folder):
    with pytest.raises(SettingError, match="type LOHA and a LlamaForCausalLM do not go together"):
        PeftMethod(type="LOHA", arguments={"target_modules": ["q_porj"]}).attach(load(tiny_backbone_folder), 0)


def test_full_trains_every_weight_and_transformers_loads_its_folder(request, tmp_path):
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    for shape, name in FOLDERS.items():
        folder = request.getfixturevalue(name)
        backbone = load(folder, precision="bfloat16")
        weights = {id(p) for p in backbone.parameters()}
        tuning = Full()
        model = tuning.attach(backbone, 0)
        assert {id(p) for p in tuning.parameters(model).values()} == weights
        disturb(tuning, model)
        tuning.save(model, tmp_path / shape)
        auto = AutoModelForSequenceClassification if shape == "bert" else AutoModelForCausalLM
        theirs = auto.from_pretrained(tmp_path / shape, dtype=torch.float32).eval()
        assert torch.equal(logits(theirs), logits(model))


def test_full_refuses_what_it_cannot_train(tiny_gpt2_folder):
    with pytest.raises(BackboneError, match="has an adapter already"):
        Full().attach(Lora().attach(load(tiny_gpt2_folder), 0), 0)
    backbone = load(tiny_gpt2_folder)
    backbone.packed = torch.nn.Parameter(torch.zeros(2, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(SettingError, match=r"full cannot train.*\(such as packed\).*tuning: lora"):
        Full().attach(backbone, 0)
