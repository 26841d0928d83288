import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tuning_shapes import CPU, FOLDERS, IDS, MASK, disturb, load, logits

from fedtailor.errors import SettingError
from fedtailor.models import load_backbone
from fedtailor.tensors import count
from fedtailor.tuning import Prefix
from fedtailor.tuning.layers.prefix_network import PrefixNetwork

NETWORK = Prefix(length=3, hidden=8)


@pytest.fixture(params=FOLDERS)
def folder(request):
    return request.getfixturevalue(FOLDERS[request.param])


def encoder(model):
    return model.prompt_encoder["default"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[("length", 0), ("length", 2.5), ("length", True), ("hidden", 0), ("layers", 1), ("layers", 4), ("layers", True)],
        *[("activation", "sine"), ("exchange", "everything")],
    ],
)
def test_wrong_settings_are_named(setting, value):
    with pytest.raises(SettingError, match=f"^{setting} is "):
        Prefix(**{setting: value})


def test_the_published_network_on_gpt2_medium_has_25_750_016_weights():
    # Embedding(10, 1024) + Linear(1024, 512) + Linear(512, 24 * 2 * 1024) with their biases
    # = 10,240 + 524,800 + 25,214,976; the vectors alone are 10 * 49,152 = 491,520, 52 times fewer
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.device("meta"):
        backbone = GPT2LMHeadModel(GPT2Config(n_embd=1024, n_layer=24, n_head=16)).requires_grad_(False)
        assert backbone.num_parameters() == 354_823_168
        tuning = Prefix(length=10, hidden=512)
        assert count(tuning.parameters(tuning.attach(backbone, 0))) == 25_750_016
    with torch.device("meta"):
        backbone = GPT2LMHeadModel(GPT2Config(n_embd=1024, n_layer=24, n_head=16)).requires_grad_(False)
        raw = Prefix(length=10, exchange="prefix")
        assert count(raw.parameters(raw.attach(backbone, 0))) == 491_520


def test_grouped_heads_are_as_narrow_as_the_models(tiny_backbone_folder):
    # 2 layers * keys and values * 1 KV head of width 8 = 32 values a place; the embedding is as wide as the model, 16
    model = NETWORK.attach(load(tiny_backbone_folder), 0)
    shapes = {name: tuple(p.shape) for name, p in NETWORK.parameters(model).items()}
    assert shapes == {
        "prompt_encoder.embedding.weight": (3, 16),
        "prompt_encoder.transform.0.bias": (8,),
        "prompt_encoder.transform.0.weight": (8, 16),
        "prompt_encoder.transform.2.bias": (32,),
        "prompt_encoder.transform.2.weight": (32, 8),
    }


@pytest.mark.parametrize("exchange", ["network", "prefix", "refit"])
def test_the_three_start_from_the_same_vectors(tiny_gpt2_folder, exchange):
    model = Prefix(length=3, hidden=8, exchange=exchange).attach(load(tiny_gpt2_folder), 0)
    network = NETWORK.attach(load(tiny_gpt2_folder), 0)
    assert torch.equal(encoder(model).vectors(), encoder(network).vectors())


def test_the_network_runs_once_a_step_whatever_the_batch(folder):
    model = NETWORK.attach(load(folder), 0)
    seen = []
    encoder(model).transform[0].register_forward_hook(lambda module, inputs, output: seen.append(tuple(inputs[0].shape)))
    logits(model)
    assert seen == [(3, 16)]  # PEFT's own would be (2, 3, 16): once for each of the two texts


def test_the_text_sees_the_prefix_as_peft_has_it(folder, tmp_path):
    # the second witness: PEFT's own plain prefix, loaded from what we save, without our network
    from peft import PeftModel

    for exchange in ("network", "prefix", "refit"):
        tuning = Prefix(length=3, hidden=8, exchange=exchange)
        model = tuning.attach(load(folder), 0)
        disturb(tuning, model)
        tuning.save(model, tmp_path / exchange)
        theirs = PeftModel.from_pretrained(load(folder), tmp_path / exchange).eval()
        assert type(encoder(theirs)).__name__ == "PrefixEncoder"
        torch.testing.assert_close(logits(theirs), logits(model), atol=1e-5, rtol=0)
        assert json.loads((tmp_path / exchange / "adapter_config.json").read_text())["prefix_projection"] is False


def test_the_gradient_is_that_of_pefts_own_network(tiny_gpt2_folder):
    from peft import PrefixTuningConfig, get_peft_model

    model = NETWORK.attach(load(tiny_gpt2_folder), 0)
    config = PrefixTuningConfig(num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=8, task_type="CAUSAL_LM")
    theirs = get_peft_model(load(tiny_gpt2_folder), config).eval()
    encoder(theirs).load_state_dict(encoder(model).state_dict())
    for each in (model, theirs):
        logits(each).square().sum().backward()
    for ours, peft in zip(encoder(model).parameters(), encoder(theirs).parameters(), strict=True):
        torch.testing.assert_close(ours.grad, peft.grad, atol=1e-5, rtol=1e-5)


def test_refit_is_exact_with_the_least_change_and_forgets_what_was_in_place():
    torch.manual_seed(0)
    network = PrefixNetwork(length=4, width=6, hidden=16, layers=2, activation="tanh", values=10)
    network.remember()
    first = [p.detach().clone() for p in network.parameters()]
    target = torch.randn(4, 10)
    network.refit(target)
    once = [p.detach().clone() for p in network.parameters()]
    torch.testing.assert_close(network.vectors(), target, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(now, then) for now, then in zip(once[:3], first[:3], strict=True))  # the last layer alone moved
    for parameter in network.parameters():
        parameter.data.add_(1.0)
    network.refit(target)
    assert all(torch.equal(p, then) for p, then in zip(network.parameters(), once, strict=True))
    # the second witness: any other exact solution is longer
    hidden = torch.cat([network.transform[:-1](network.embedding.weight), torch.ones(4, 1)], dim=1).double()
    change = torch.cat([once[3] - first[3], (once[4] - first[4])[:, None]], dim=1).double().T
    null = torch.eye(17, dtype=torch.float64) - torch.linalg.pinv(hidden) @ hidden
    assert (null @ change).norm() < 1e-5 * change.norm()


def test_refit_sends_vectors_alone_and_their_mean_is_what_everybody_gets(tiny_backbone_folder):
    tuning = Prefix(length=3, hidden=8, exchange="refit")
    model = tuning.attach(load(tiny_backbone_folder), 0)
    start = {name: value.clone() for name, value in tuning.exchanged(model).items()}
    assert {name: tuple(value.shape) for name, value in start.items()} == {"prompt_embeddings": (3, 32)}
    mean = {"prompt_embeddings": start["prompt_embeddings"] + 1.0}
    tuning.receive(model, mean)
    torch.testing.assert_close(tuning.exchanged(model)["prompt_embeddings"], mean["prompt_embeddings"], atol=1e-5, rtol=0)


def test_the_network_is_kept_in_a_file_of_its_own(tiny_gpt2_folder, tmp_path):
    model = NETWORK.attach(load(tiny_gpt2_folder), 0)
    NETWORK.save(model, tmp_path)
    assert set(load_file(tmp_path / "adapter_model.safetensors")) == {"prompt_embeddings"}
    assert sorted(load_file(tmp_path / "prefix_network.safetensors")) == list(NETWORK.parameters(model))
    (tmp_path / "prefix_network.safetensors").unlink()
    with pytest.raises(SettingError, match="without the network that made it"):
        NETWORK.restore(model, tmp_path)


def test_a_model_without_past_keys_is_refused_by_name():
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    model = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=300, dim=16, hidden_dim=32, n_layers=1, n_heads=2))
    with pytest.raises(SettingError, match=r"prefix and a DistilBertForSequenceClassification do not go together.*adapter"):
        NETWORK.attach(model, 0)


def test_a_decoder_with_a_class_head_takes_a_prefix(tiny_gpt2_folder):
    kind = {"kind": "classifier", "labels": ("a", "b"), "device": CPU, "base": Path(), "seed": 0}
    model = NETWORK.attach(load_backbone(str(tiny_gpt2_folder), **kind).model, 0)
    ids = torch.where(MASK == 1, IDS, model.config.pad_token_id)
    together = model(input_ids=ids, attention_mask=MASK).logits
    alone = model(input_ids=ids[1:, :4], attention_mask=MASK[1:, :4]).logits
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=0)
