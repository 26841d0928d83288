"""What a model does is found by a forward pass: whether it looks ahead, and where it bears padding."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import save_tiny

from fedtailor.errors import BackboneError
from fedtailor.models import load_backbone
from fedtailor.models.heads import logits_at
from fedtailor.models.probe import find_padding
from fedtailor.records import Example
from fedtailor.tasks import Classification, Generation
from fedtailor.tasks.evaluation import Evaluation, Pass
from fedtailor.tasks.shard import collate, inputs_of, one_by_one
from fedtailor.tasks.task import padding_of

CPU = torch.device("cpu")
SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def bert(ids, **more):
    from transformers import BertConfig, BertLMHeadModel

    return BertLMHeadModel(BertConfig(**ids, **SHAPE, max_position_embeddings=256, **more))


def roberta(ids, **more):
    from transformers import RobertaConfig, RobertaForCausalLM

    return RobertaForCausalLM(RobertaConfig(**ids, **SHAPE, max_position_embeddings=260, **more))


def electra(ids, **more):
    from transformers import ElectraConfig, ElectraForCausalLM

    return ElectraForCausalLM(ElectraConfig(**ids, **SHAPE, embedding_size=16, max_position_embeddings=256, **more))


def xlnet_lm(ids):
    from transformers import XLNetConfig, XLNetLMHeadModel

    return XLNetLMHeadModel(XLNetConfig(**ids, d_model=16, n_layer=2, n_head=2, d_inner=32))


def xlnet(ids):
    from transformers import XLNetConfig, XLNetForSequenceClassification

    return XLNetForSequenceClassification(XLNetConfig(**ids, d_model=16, n_layer=2, n_head=2, d_inner=32, num_labels=2))


def fnet(ids):
    from transformers import FNetConfig, FNetForSequenceClassification

    return FNetForSequenceClassification(
        FNetConfig(vocab_size=ids["vocab_size"], hidden_size=16, num_hidden_layers=2, intermediate_size=32)
    )


def losses(backbone, task, shard, size):
    """Return the sums of the loss in batches of this size."""
    worker = SimpleNamespace(
        model=backbone.model,
        processor=backbone.processor,
        device=CPU,
        evaluation=Evaluation(batch_size=size),
        logits_at=logits_at,
    )
    return task.losses(worker, shard, Pass())


def load(folder, kind="causal", precision="float32"):
    labels = ("a", "b") if kind == "classifier" else ()
    return load_backbone(str(folder), kind=kind, labels=labels, precision=precision, device=CPU, base=folder, seed=0)


@pytest.mark.parametrize(
    ("make", "precision"),
    [*((make, precision) for make in (bert, roberta, electra) for precision in ("float32", "bfloat16")), (xlnet_lm, "float32")],
)
def test_who_looks_ahead_is_no_language_model(tmp_path, make, precision):
    folder = save_tiny(tmp_path / "model", make)
    with pytest.raises(BackboneError, match=r"model \(a \w+\) is no language model: a later token changes"):
        load(folder, precision=precision)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("make", [bert, roberta, electra], ids=lambda make: make.__name__)
def test_the_same_as_a_decoder_is_one(tmp_path, make, precision):
    folder = save_tiny(tmp_path / "model", lambda ids: make(ids, is_decoder=True))
    assert load(folder, precision=precision).model.padding_side == "right"


def test_a_masked_language_model_that_looks_ahead_is_refused_whatever_its_name(tmp_path):
    from transformers import BertConfig, BertForMaskedLM

    folder = save_tiny(tmp_path / "model", lambda ids: BertForMaskedLM(BertConfig(**ids, **SHAPE)))
    with pytest.raises(BackboneError, match="is no language model"):
        load(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "is_decoder": True}))
    assert load(folder).model.padding_side == "right"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_usual_models_are_padded_on_the_right(tiny_backbone_folder, tiny_gpt2_folder, tiny_bert_folder, precision):
    for folder, kind in (
        (tiny_backbone_folder, "causal"),
        (tiny_gpt2_folder, "causal"),
        (tiny_backbone_folder, "classifier"),
        (tiny_gpt2_folder, "classifier"),
        (tiny_bert_folder, "classifier"),
    ):
        assert load(folder, kind, precision).model.padding_side == "right"


TEXTS = ["a", "the river", "name of the coffee shop near the river", "card", "a copy of the array; raise an error"]


def leaking(_, given, named, output):
    """Let a model show how much padding stands around a row."""
    mask_BL = named.get("attention_mask")
    if mask_BL is not None:
        share_B = mask_BL.float().mean(1)
        output.logits = output.logits + share_B.view(-1, *[1] * (output.logits.dim() - 1)) * torch.linspace(
            0, 1, output.logits.shape[-1]
        )
    return output


@pytest.mark.parametrize("side", ["left", "none"])
def test_a_text_has_one_class_whatever_its_batch(tmp_path, tiny_bert_folder, side):
    """XLNet's head reads the last place; the other model bears padding nowhere."""
    folder = save_tiny(tmp_path / "model", xlnet) if side == "left" else tiny_bert_folder
    backbone = load(folder, "classifier")
    with torch.no_grad():
        for parameter in backbone.model.parameters():
            parameter.mul_(3)
    if side == "none":
        backbone.model.register_forward_hook(leaking, with_kwargs=True)
        backbone.model.padding_side = find_padding(backbone.model, backbone.processor, causal=False, what="this")
    assert padding_of(backbone.model) == side
    task = Classification(labels=("a", "b"))
    examples = [Example(id=str(n), fields={"text": text, "label": "ab"[n % 2]}) for n, text in enumerate(TEXTS)]
    shard = task.prepare(examples, backbone.processor, keep_examples=True)
    pad = backbone.processor.pad_token_id
    with torch.no_grad():
        found = [losses(backbone, task, shard, size).total for size in (1, 2, 5)]
        each = []
        for n in range(len(TEXTS)):
            alone = collate(shard, [n], pad, CPU)
            logits_1C = backbone.model(input_ids=alone.input_ids_BL).logits
            each.append(torch.nn.functional.cross_entropy(logits_1C, shard.labels_N[n : n + 1]).item())
    assert found == pytest.approx([sum(each)] * 3, rel=1e-4)
    assert max(each) - min(each) > 1e-2  # texts differ, so that a mix-up would show


def test_a_model_without_a_mask_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(BackboneError, match=r"FNetForSequenceClassification\) takes no attention_mask"):
        load(save_tiny(tmp_path / "model", fnet), "classifier")


def test_who_looks_at_neighbours_is_refused(tiny_bert_folder, tiny_backbone_folder):
    for folder, kind in ((tiny_bert_folder, "classifier"), (tiny_backbone_folder, "causal")):
        backbone = load(folder, kind)

        def mix(_, given, output):
            output.logits = output.logits + output.logits.mean(0, keepdim=True)
            return output

        backbone.model.register_forward_hook(mix)
        with pytest.raises(BackboneError, match="another text stands beside it in the batch"):
            find_padding(backbone.model, backbone.processor, causal=kind == "causal", what="this")


def test_a_language_model_that_bears_no_padding_reads_one_text_at_a_time(tiny_backbone_folder):
    backbone = load(tiny_backbone_folder)

    hook = backbone.model.register_forward_hook(leaking, with_kwargs=True)
    side = find_padding(backbone.model, backbone.processor, causal=True, what="this")
    assert side == "none"
    backbone.model.padding_side = side
    task = Generation()
    examples = [Example(id=str(n), fields={"input": text, "target": text[::-1]}) for n, text in enumerate(TEXTS)]
    shard = task.prepare(examples, backbone.processor, keep_examples=True)
    with torch.no_grad():
        found = losses(backbone, task, shard, 5)
        hook.remove()
        backbone.model.padding_side = "right"
        wanted = losses(backbone, task, shard, 1)
    assert (found.counted, found.total) == (wanted.counted, pytest.approx(wanted.total, rel=1e-5))


def test_the_look_draws_nothing_and_finds_numbers_that_are_none(tiny_bert_folder, tiny_backbone_folder, tmp_path):
    backbone = load(tiny_bert_folder, "classifier")
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    find_padding(backbone.model, backbone.processor, causal=False, what="this")
    assert torch.equal(torch.random.get_rng_state(), before)
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(tiny_backbone_folder, tmp_path / "copy")
    tensors = load_file(copy / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"copy: 1 of 16 numbers of the weight model.norm.weight are NaN"):
        load(copy)


def test_left_padding_is_right_padding_shifted():
    from fedtailor.tasks.shard import TokenShard

    lengths = [3, 1, 4]
    shard = TokenShard(
        tokens_T=torch.arange(10, 18, dtype=torch.int32),
        target_T=torch.tensor([0, 1, 1, 0, 0, 0, 1, 1], dtype=torch.bool),
        starts=torch.from_numpy(np.cumsum([0, *lengths])),
    )
    batch = collate(shard, [0, 1, 2], 9, CPU, "left")
    assert batch.input_ids_BL.tolist() == [[9, 10, 11, 12], [9, 9, 9, 13], [14, 15, 16, 17]]
    assert batch.attention_mask_BL.tolist() == [[0, 1, 1, 1], [0, 0, 0, 1], [1, 1, 1, 1]]
    assert batch.target_BL.tolist() == [
        [False, False, True, True],
        [False, False, False, False],
        [False, False, True, True],
    ]
    assert inputs_of(batch)[2].tolist() == [[False, True, False, False], [False, False, False, True], [True, True, False, False]]
    assert [row.input_ids_BL.tolist() for row in one_by_one(batch)] == [[[10, 11, 12]], [[13]], [[14, 15, 16, 17]]]
