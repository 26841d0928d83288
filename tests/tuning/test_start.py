"""An adapter is taken as a start only if it means here what it meant where it was trained."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tuning_shapes import disturb, load, logits

from fedtailor.errors import SettingError
from fedtailor.models import load_backbone, pool_mean
from fedtailor.tuning import Lora, notes_of
from fedtailor.tuning.adapters.targets import attention_targets

LABELS = ("card", "transfer", "rate")  # as `load` names them
PATTERNS = {"alpha_pattern": {"q_proj": 8}, "rank_pattern": {"q_proj": 4}}
CHANGES = {
    **PATTERNS,
    "alora_invocation_tokens": [1, 2],
    "use_dora": True,
    "use_rslora": True,
    "lora_bias": True,
    "bias": "all",
    "layer_replication": [[0, 1]],
    "trainable_token_indices": [3],
    "target_parameters": ["q_proj.weight"],
    "corda_config": {"corda_method": "ipm"},
    "loftq_config": {"loftq_bits": 4},
    "init_lora_weights": "pissa_niter_4",
    "ensure_weight_tying": True,
    "a_field_of_later_years": 3,
    "another": "sqrt",
    "a_third": 0,
}


@pytest.fixture(scope="module")
def saved(tiny_backbone_folder, tmp_path_factory):
    """Return the folder of a trained adapter, and the logits with it."""
    model = Lora(rank=2).attach(load(tiny_backbone_folder), 0)
    disturb(Lora(rank=2), model)
    folder = tmp_path_factory.mktemp("saved")
    Lora(rank=2).save(model, folder)
    return folder, logits(model).detach()


def copy_with(saved, folder, **fields):
    folder.mkdir(exist_ok=True)
    for path in saved[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    told = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**told, **fields}))
    return folder


def started(backbone, folder, **more):
    return Lora(rank=2, initial=str(folder), **more).attach(load(backbone), 0)


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_that_changes_the_result_is_refused_by_name(field, saved, tiny_backbone_folder, tmp_path):
    with pytest.raises(SettingError, match=rf"^initial: the adapter in .* was made with {field}: ") as fault:
        started(tiny_backbone_folder, copy_with(saved, tmp_path / "a", **{field: CHANGES[field]}))
    assert ("path_initial_model_for_weight_conversion" in str(fault.value)) == (field == "init_lora_weights")


def test_fields_that_change_nothing_are_taken(saved, tiny_backbone_folder, tmp_path):
    fields = {
        "lora_dropout": 0.5, "peft_version": "0.1", "revision": "main", "base_model_name_or_path": "elsewhere", "inference_mode": False,
        "init_lora_weights": "gaussian", "a_field_of_later_years": None, "another": False, "a_third": {}, "runtime_config": {"x": True},
    }  # fmt: skip
    found = logits(started(tiny_backbone_folder, copy_with(saved, tmp_path / "a", **fields)))
    torch.testing.assert_close(found, saved[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["pissa", "olora", "gaussian", "orthogonal", "eva", True, False])
def test_what_peft_itself_wrote_is_what_peft_loads_or_refused(kind, tiny_backbone_folder, tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model

    targets = list(attention_targets(load(tiny_backbone_folder)))
    model = get_peft_model(
        load(tiny_backbone_folder),
        LoraConfig(r=2, lora_alpha=16, target_modules=targets, init_lora_weights=kind, task_type="CAUSAL_LM"),
    )
    disturb(Lora(rank=2), model)
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    if kind in ("pissa", "olora"):
        with pytest.raises(SettingError, match=f'init_lora_weights: "{kind}"'):
            started(tiny_backbone_folder, tmp_path)
        return
    theirs = PeftModel.from_pretrained(load(tiny_backbone_folder), tmp_path).eval()
    torch.testing.assert_close(logits(started(tiny_backbone_folder, tmp_path)), logits(theirs), atol=1e-6, rtol=0)


@pytest.fixture
def classifier(tiny_bert_folder, tmp_path):
    """Return the folder of a trained classifier's adapter, and its scores."""
    model = Lora(rank=2).attach(load(tiny_bert_folder), 0)
    disturb(Lora(rank=2), model)
    Lora(rank=2).save(model, tmp_path / "adapter")
    return tmp_path / "adapter", logits(model).detach()


def start_as(folder, adapter, labels, *, pooled=False):
    backbone = load_backbone(str(folder), kind="classifier", labels=labels, device=torch.device("cpu"), base=folder, seed=1)
    return Lora(rank=2, initial=str(adapter)).attach(pool_mean(backbone.model) if pooled else backbone.model, 1)


@pytest.mark.parametrize("labels", [("transfer", "rate", "card"), ("rate", "card")])
def test_rows_of_an_adapters_head_follow_the_names_of_its_classes(labels, classifier, tiny_bert_folder):
    model = start_as(tiny_bert_folder, classifier[0], labels)
    torch.testing.assert_close(logits(model), classifier[1][:, [LABELS.index(label) for label in labels]], atol=1e-6, rtol=0)
    assert notes_of(model) == ()


@pytest.mark.parametrize("labels", [("a", "b", "c"), (*LABELS, "more")])
def test_a_head_for_other_classes_starts_again_with_a_note_and_the_factors_are_taken(labels, classifier, tiny_bert_folder):
    model = start_as(tiny_bert_folder, classifier[0], labels)
    assert "card, transfer, rate" in notes_of(model)[0]
    weights, wanted = Lora(rank=2).parameters(model), load_file(classifier[0] / "adapter_model.safetensors")
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted if "lora_" in name)
    head = "base_model.model.classifier.weight"
    assert weights[head].shape[0] == len(labels)
    assert len(labels) != 3 or not torch.allclose(weights[head], wanted[head])


def test_a_head_whose_classes_nobody_names_is_refused(classifier, tiny_bert_folder):
    (classifier[0] / "labels.json").unlink()
    with pytest.raises(
        SettingError, match=r'does not say which row is which class; write labels\.json.*\["card", "transfer", "rate"\]'
    ):
        start_as(tiny_bert_folder, classifier[0], LABELS)


def test_a_head_that_reads_something_else_is_refused(classifier, tiny_bert_folder):
    with pytest.raises(SettingError, match=r"was trained with task\.pooling: model, the job has mean"):
        start_as(tiny_bert_folder, classifier[0], LABELS, pooled=True)
    (classifier[0] / "head.json").write_text('{"pooling": "mean"}')
    with pytest.raises(SettingError, match=r"was trained with task\.pooling: mean, the job has model; set task\.pooling: mean"):
        start_as(tiny_bert_folder, classifier[0], LABELS)
    assert notes_of(start_as(tiny_bert_folder, classifier[0], LABELS, pooled=True)) == ()
    (classifier[0] / "head.json").unlink()  # an adapter of before, or of PEFT's
    assert "does not say" in notes_of(start_as(tiny_bert_folder, classifier[0], LABELS, pooled=True))[0]


def test_a_tensor_that_belongs_nowhere_is_refused(classifier, tiny_bert_folder):
    found = load_file(classifier[0] / "adapter_model.safetensors")
    save_file({**found, "base_model.model.stranger.weight": torch.zeros(3)}, classifier[0] / "adapter_model.safetensors")
    with pytest.raises(SettingError, match="1 are unknown"):
        start_as(tiny_bert_folder, classifier[0], LABELS)
