import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from fedtailor.errors import BackboneError, SettingError
from fedtailor.models import load_backbone
from fedtailor.tensors import count
from fedtailor.tuning import TUNINGS, Lora

CPU = torch.device("cpu")
SHAPES = ("tiny_backbone_folder", "tiny_gpt2_folder", "tiny_bert_folder")
LABELS = ("card", "transfer", "rate")
IDS = torch.tensor([[5, 17, 130, 240, 9], [33, 2, 2, 80, 121]])


def load(folder: Path, *, seed: int = 0, precision="float32"):
    kind = "classifier" if "bert" in folder.name else "causal"
    labels = LABELS if kind == "classifier" else ()
    return load_backbone(str(folder), kind=kind, labels=labels, precision=precision, device=CPU, base=Path(), seed=seed)


def tuned(folder: Path, tuning: Lora, *, seed: int = 0):
    return tuning.attach(load(folder, seed=seed).model, seed)


def disturb(tuning: Lora, model) -> None:
    """Move every trained weight, as training would."""
    draw = torch.Generator().manual_seed(7)
    for parameter in tuning.parameters(model).values():
        parameter.data.add_(torch.randn(parameter.shape, generator=draw) * 0.1)


@pytest.fixture(params=SHAPES)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[("rank", 0), ("rank", 2.5), ("rank", True), ("alpha", 0), ("alpha", float("nan")), ("dropout", 1.0), ("dropout", -0.1)],
        *[("targets", ()), ("targets", (3,)), ("initial", ""), ("initial", 5)],
    ],
)
def test_wrong_settings_are_named(setting, value):
    with pytest.raises(SettingError, match=f"^{setting} is "):
        Lora(**{setting: value})


def test_targets_may_come_as_a_list_or_one_name():
    assert Lora(targets=["q_proj", "k_proj"]).targets == ("q_proj", "k_proj")  # YAML gives lists
    assert Lora(targets="q_proj").targets == ("q_proj",)
    assert TUNINGS["lora"] is Lora


def test_trained_weights_of_a_llama(tiny_backbone_folder):
    # per layer: q_proj 16 -> 16 and v_proj 16 -> 8 (one KV head of width 8): r (16 + 16) + r (16 + 8) = 4 * 56; two layers
    tuning = Lora(rank=4)
    parameters = tuning.parameters(tuned(tiny_backbone_folder, tuning))
    assert count(parameters) == 2 * 4 * 56
    assert next(iter(parameters)) == "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    assert list(parameters) == sorted(parameters)


def test_targets_by_architecture(tiny_gpt2_folder, tiny_bert_folder):
    tuning = Lora(rank=2)
    gpt2 = tuning.parameters(tuned(tiny_gpt2_folder, tuning))
    assert count(gpt2) == 2 * 2 * (16 + 48)  # c_attn is query, key and value in one: 16 -> 48
    bert = tuning.parameters(tuned(tiny_bert_folder, tuning))
    assert count(bert) == 2 * 2 * 2 * (16 + 16) + 3 * 16 + 3  # query and value; then the head with its bias
    assert {name for name in bert if "lora" not in name} == {
        "base_model.model.classifier.bias",
        "base_model.model.classifier.weight",
    }


def test_only_trained_weights_require_gradients_and_are_float32(folder):
    tuning = Lora(rank=2)
    backbone = load(folder, precision="bfloat16")
    model = tuning.attach(backbone.model, 0)
    parameters = tuning.parameters(model)
    assert {p.dtype for p in parameters.values()} == {torch.float32}
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in parameters.values()}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(input_ids=IDS).logits.float().sum().backward()
    grads = {name: p.grad for name, p in parameters.items()}
    assert all(grad is not None and grad.dtype is torch.float32 for grad in grads.values())


def test_a_fresh_adapter_changes_nothing(folder):
    before = load(folder).model(input_ids=IDS).logits
    assert torch.equal(tuned(folder, Lora())(input_ids=IDS).logits, before)  # B = 0


def test_the_draw_depends_on_the_seed_alone(folder):
    tuning = Lora(rank=2, targets=None)

    def values(seed: int):
        return {name: p.detach().clone() for name, p in tuning.parameters(tuned(folder, tuning, seed=seed)).items()}

    torch.manual_seed(123)
    first = values(0)
    state = torch.random.get_rng_state()
    torch.rand(5)
    second, other = values(0), values(1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    torch.manual_seed(123)
    assert torch.equal(torch.random.get_rng_state(), state)  # neither loading nor attaching drew from the global stream


def test_scale_is_alpha_over_rank(tiny_backbone_folder):
    tuning = Lora(rank=4, alpha=6)
    scale = tuning.scale(tuned(tiny_backbone_folder, tuning))
    assert set(scale.values()) == {1.5}
    assert "base_model.model.model.layers.1.self_attn.v_proj" in scale
    assert len(scale) == 4


def test_the_file_has_our_names_and_values(folder, tmp_path):
    tuning = Lora(rank=2)
    model = tuned(folder, tuning)
    disturb(tuning, model)
    tuning.save(model, tmp_path)
    saved, ours = load_file(tmp_path / "adapter_model.safetensors"), tuning.parameters(model)
    assert sorted(saved) == list(ours)
    assert all(torch.equal(saved[name], ours[name]) for name in ours)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == str(folder)
    wanted = {"adapter_config.json", "adapter_model.safetensors"} | (
        {"labels.json", "head.json"} if "bert" in folder.name else set()
    )
    assert {path.name for path in tmp_path.iterdir()} == wanted


def test_saving_twice_gives_the_same_bytes(folder, tmp_path):
    tuning = Lora(rank=2)
    model = tuned(folder, tuning)
    for name in ("a", "b"):
        tuning.save(model, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_restore_brings_back_what_was_saved(folder, tmp_path):
    tuning = Lora(rank=2)
    model = tuned(folder, tuning)
    disturb(tuning, model)
    tuning.save(model, tmp_path)
    other = tuned(folder, tuning, seed=9)
    tuning.restore(other, tmp_path)
    assert torch.equal(other(input_ids=IDS).logits, model(input_ids=IDS).logits)
    started = tuned(folder, Lora(rank=2, initial=str(tmp_path)), seed=9)
    assert torch.equal(started(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_peft_loads_the_folder_without_us(folder, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    tuning = Lora(rank=2, alpha=7)
    model = tuned(folder, tuning)
    disturb(tuning, model)
    tuning.save(model, tmp_path)
    if "bert" in folder.name:
        labels = json.loads((tmp_path / "labels.json").read_text())
        base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(labels))
        assert labels == list(LABELS)
    else:
        base = AutoModelForCausalLM.from_pretrained(folder)
    theirs = PeftModel.from_pretrained(base, tmp_path).eval()
    torch.testing.assert_close(theirs(input_ids=IDS).logits, model(input_ids=IDS).logits, atol=1e-5, rtol=0)


def test_what_the_folder_lacked_is_trained_and_saved(tiny_bert_folder, tmp_path):
    # a masked model has no pooler: a classifier's would be random, and an adapter without it of no use to others
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, BertConfig, BertForMaskedLM

    bare = tmp_path / "bare-bert"
    BertForMaskedLM(BertConfig.from_pretrained(tiny_bert_folder)).save_pretrained(bare)
    for path in tiny_bert_folder.glob("tokenizer*"):
        (bare / path.name).write_bytes(path.read_bytes())
    tuning = Lora(rank=2)
    model = tuned(bare, tuning)
    disturb(tuning, model)
    assert "base_model.model.bert.pooler.dense.weight" in tuning.parameters(model)
    tuning.save(model, tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(
        AutoModelForSequenceClassification.from_pretrained(bare, num_labels=3), tmp_path / "adapter"
    )
    torch.testing.assert_close(theirs.eval()(input_ids=IDS).logits, model(input_ids=IDS).logits, atol=1e-5, rtol=0)


def test_a_target_that_is_not_there_names_the_nearest(tiny_backbone_folder):
    with pytest.raises(SettingError, match=r"'q_porj'.*did you mean 'q_proj'"):
        Lora(targets=("q_porj",)).attach(load(tiny_backbone_folder).model, 0)


def test_all_linear_means_all_but_the_head(tiny_backbone_folder):
    tuning = Lora(rank=1, targets=("all-linear",))
    names = tuning.parameters(tuned(tiny_backbone_folder, tuning))
    assert len(names) == 2 * 2 * 7  # A and B, two layers, seven projections
    assert not any("lm_head" in name for name in names)


@pytest.mark.parametrize(
    ("change", "text"),
    [({"rank": 4}, "rank 2 and alpha 16"), ({"alpha": 8}, "alpha 16"), ({"targets": ("k_proj",)}, "does not fit this tuning")],
)
def test_a_start_that_does_not_fit_is_refused(tiny_backbone_folder, tmp_path, change, text):
    first = Lora(rank=2)
    first.save(tuned(tiny_backbone_folder, first), tmp_path)
    with pytest.raises(SettingError, match=text):
        tuned(tiny_backbone_folder, Lora(**{"rank": 2, "initial": str(tmp_path), **change}))


def test_a_damaged_or_missing_adapter_is_refused(tiny_backbone_folder, tmp_path):
    tuning = Lora(rank=2)
    model = tuned(tiny_backbone_folder, tuning)
    with pytest.raises(SettingError, match="not an adapter folder"):
        tuned(tiny_backbone_folder, Lora(rank=2, initial=str(tmp_path / "nowhere")))
    with pytest.raises(SettingError, match=r"has no adapter_model.safetensors"):
        tuning.restore(model, tmp_path)
    tuning.save(model, tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(SettingError, match="cannot be read"):
        tuning.restore(model, tmp_path)


def test_attaching_twice_is_refused(tiny_backbone_folder):
    model = tuned(tiny_backbone_folder, Lora())
    with pytest.raises(BackboneError, match="has an adapter already"):
        Lora().attach(model, 0)


def test_dropout_acts_in_training_only(tiny_backbone_folder):
    tuning = Lora(rank=2, dropout=0.5)
    model = tuned(tiny_backbone_folder, tuning)
    disturb(tuning, model)
    assert torch.equal(model(input_ids=IDS).logits, model(input_ids=IDS).logits)
    model.train()
    assert not torch.equal(model(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_the_file_is_plain_safetensors_in_float32(tiny_backbone_folder, tmp_path):
    tuning = Lora(rank=2)
    tuning.save(tuning.attach(load(tiny_backbone_folder, precision="bfloat16").model, 0), tmp_path)
    with safe_open(tmp_path / "adapter_model.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F32"}  # noqa: SIM118
