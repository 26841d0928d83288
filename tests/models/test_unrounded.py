import pytest
import torch
from safetensors.torch import load_file
from tuning_shapes import CPU

from fedtailor.models import load_backbone, unround
from fedtailor.tuning import Adapter, Lora, PeftMethod


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a trained classifier in float32, whose weights bfloat16 cannot hold."""
    from conftest import save_tiny
    from transformers import BertConfig, BertForSequenceClassification

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}

    def make(ids):
        plain = {key: ids[key] for key in ("vocab_size", "pad_token_id")}
        model = BertForSequenceClassification(BertConfig(**size, **plain, id2label={0: "a", 1: "b"}, label2id={"a": 0, "b": 1}))
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
        return model

    return save_tiny(tmp_path_factory.mktemp("rounding") / "bert", make)


@pytest.mark.parametrize(
    ("tuning", "ends"),
    [
        (Lora(rank=2), ("classifier.weight", "classifier.bias")),
        (Adapter(width=4), ("classifier.weight", "classifier.bias")),
        (PeftMethod(type="LN_TUNING"), ("attention.self.query.ln_tuning_layers.weight", "classifier.weight")),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_what_is_trained_starts_from_the_file_and_nothing_else_changes(tuning, ends, folder):
    backbone = load_backbone(
        str(folder), kind="classifier", labels=("a", "b"), precision="bfloat16", device=CPU, base=folder, seed=0
    )
    model = tuning.attach(backbone.model, 0)
    trained, file = tuning.parameters(model), load_file(folder / "model.safetensors")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    unround(model, trained, folder)
    for end in ends:
        names = [name for name in trained if name.endswith(end)]
        assert names
        for name in names:
            stored = file[name.removeprefix("base_model.model.").replace(".ln_tuning_layers", "")]
            assert torch.equal(trained[name], stored)
            assert not torch.equal(stored.to(torch.bfloat16).float(), stored)
    kept = {name: p for name, p in model.named_parameters() if not p.requires_grad or "lora_" in name or "adapter" in name}
    assert all(torch.equal(p, before[name]) for name, p in kept.items())


def test_rows_that_were_moved_or_drawn_are_not_those_of_the_file(folder):
    for labels in (("b", "a"), ("x", "y")):
        backbone = load_backbone(
            str(folder), kind="classifier", labels=labels, precision="bfloat16", device=CPU, base=folder, seed=0
        )
        model = Lora(rank=2).attach(backbone.model, 0)
        trained = Lora(rank=2).parameters(model)
        before = trained["base_model.model.classifier.weight"].detach().clone()
        unround(model, trained, folder)
        assert torch.equal(trained["base_model.model.classifier.weight"], before)
