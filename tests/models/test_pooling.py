"""A classifier whose head reads the mean over a text's tokens."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from fedtailor.errors import BackboneError
from fedtailor.models import load_backbone, pool_mean, reads_mean, trained_for_mean
from fedtailor.models.pooling import is_unread

CPU = torch.device("cpu")
IDS = torch.tensor([[5, 9, 3, 7, 2], [4, 8, 6, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 12,
    "pad_token_id": 0,
}


def bert():
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(BertConfig(**SHAPE, num_labels=3))


def llama():
    """A decoder: its head reads the last token that is no padding."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    return LlamaForSequenceClassification(LlamaConfig(**SHAPE, num_labels=3))


def roberta():
    from transformers import RobertaConfig, RobertaForSequenceClassification

    return RobertaForSequenceClassification(RobertaConfig(**SHAPE, num_labels=3))


def distilbert():
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    shape = {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2}
    return DistilBertForSequenceClassification(DistilBertConfig(**shape, vocab_size=12, num_labels=3, pad_token_id=0))


@pytest.fixture(params=[bert, llama, roberta, distilbert], ids=lambda make: make.__name__)
def model(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return request.param().eval()


def logits(model, rows=slice(None), length=5, *, mask=True):
    return model(input_ids=IDS[rows, :length], attention_mask=MASK[rows, :length] if mask else None).logits


def test_padding_has_no_part_in_the_mean(model):
    before = logits(model)
    assert pool_mean(model) is model
    assert reads_mean(model)
    assert not torch.allclose(logits(model), before, atol=1e-4)
    torch.testing.assert_close(logits(model)[1:], logits(model, slice(1, 2), 3, mask=False))  # its last two tokens are padding


def test_a_head_reads_the_mean_of_the_last_hidden_states():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = bert().eval()
    hidden_BLH = model.bert(input_ids=IDS, attention_mask=MASK).last_hidden_state
    wanted = torch.stack([hidden_BLH[0].mean(0), hidden_BLH[1, :3].mean(0)])
    torch.testing.assert_close(logits(pool_mean(model)), model.classifier(wanted))
    output = model(input_ids=IDS, attention_mask=MASK, output_hidden_states=True)
    torch.testing.assert_close(output.hidden_states[-1], hidden_BLH)  # what others read stays as it was


def test_pooling_twice_is_pooling_once(model):
    once = logits(pool_mean(model))
    torch.testing.assert_close(logits(pool_mean(model)), once)
    assert len(model.base_model._forward_hooks) == 1


def test_places_of_a_prefix_are_no_tokens():
    from peft import PrefixTuningConfig, get_peft_model

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = pool_mean(bert()).eval()
        whole = get_peft_model(model, PrefixTuningConfig(num_virtual_tokens=4, task_type="SEQ_CLS")).eval()
    with torch.no_grad():
        one, both = (whole(input_ids=IDS[rows, :3], attention_mask=MASK[rows, :3]).logits for rows in (slice(1, 2), slice(None)))
        padded = whole(input_ids=IDS, attention_mask=MASK).logits
    torch.testing.assert_close(one, both[1:])
    torch.testing.assert_close(padded[1:], one)


def test_what_cannot_be_pooled_is_refused():
    from transformers import BartConfig, BartForSequenceClassification

    shape = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    both = BartForSequenceClassification(
        BartConfig(**shape, vocab_size=12, encoder_ffn_dim=32, decoder_ffn_dim=32, pad_token_id=0)
    )
    with pytest.raises(BackboneError, match=r"BartForSequenceClassification cannot read the mean .*task.pooling: mean"):
        pool_mean(both)
    with pytest.raises(BackboneError, match="cannot read the mean"):
        pool_mean(bert().bert)  # no head


def test_a_pooler_that_the_folder_lacks_is_not_trained_where_nobody_reads_it(tiny_bert_folder, tmp_path):

    folder = shutil.copytree(tiny_bert_folder, tmp_path / "bare")
    kept = {name: value for name, value in load_file(folder / "model.safetensors").items() if "pooler" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    more = {"kind": "classifier", "labels": ("a", "b"), "device": CPU, "base": tmp_path, "seed": 0}
    assert load_backbone("bare", **more).fresh == ("bert.pooler.dense", "classifier")
    pooled = load_backbone("bare", pooling="mean", **more)
    assert pooled.fresh == ("classifier",)
    assert pooled.model.fresh_modules == ("classifier",)


def test_a_pooler_of_the_head_is_trained():
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    head = DebertaV2ForSequenceClassification(DebertaV2Config(**SHAPE, num_labels=3))
    assert not is_unread(head, "pooler.dense")  # it reads the mean
    assert is_unread(bert(), "bert.pooler.dense")
    logits(pool_mean(head)).sum().backward()
    assert head.pooler.dense.weight.grad is not None


def test_a_model_that_shortens_a_text_is_refused_when_it_is_used():
    from transformers import FunnelConfig, FunnelForSequenceClassification

    shape = {"d_model": 16, "d_inner": 32, "n_head": 2, "d_head": 8, "block_sizes": [1, 1], "num_decoder_layers": 1}
    model = pool_mean(FunnelForSequenceClassification(FunnelConfig(**shape, vocab_size=12, num_labels=3, pad_token_id=0)).eval())
    with pytest.raises(
        BackboneError, match=r"hidden states for 5 tokens, so the mean over tokens \(task.pooling: mean\) cannot be read"
    ):
        logits(model)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"pooling_mode_mean_tokens": true}', True),
        ('{"pooling_mode_mean_tokens": false, "pooling_mode_cls_token": true}', False),
        ("[true]", False),
        ("{", False),
        (None, False),
    ],
)
def test_a_folder_reports_how_it_was_trained_to_be_read(tmp_path, text, expected):
    if text is not None:
        (tmp_path / "1_Pooling").mkdir()
        (tmp_path / "1_Pooling" / "config.json").write_text(text)
    assert trained_for_mean(tmp_path) is expected
