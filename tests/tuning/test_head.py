"""The head of a classifier on features that are computed once."""

import pytest
import torch
from tuning_shapes import IDS, MASK, load

from fedtailor.errors import SettingError
from fedtailor.models.pooling import pool_mean
from fedtailor.tuning import Head, notes_of


@pytest.fixture
def pooled(tiny_bert_folder):
    return pool_mean(load(tiny_bert_folder))


def test_a_text_goes_through_the_backbone_once_and_answers_stay(pooled):
    wanted = pooled(input_ids=IDS, attention_mask=MASK).logits
    tuned = Head().attach(pooled, seed=0)
    calls = []
    tuned.base_model.encoder.register_forward_hook(lambda module, inputs, output: calls.append(len(output[0])))
    first = tuned(input_ids=IDS, attention_mask=MASK).logits
    torch.testing.assert_close(first, wanted)
    assert calls == [2]
    other = torch.cat([IDS[:1], torch.tensor([[7, 7, 7, 7, 7, 7]])])
    tuned(input_ids=other)
    assert calls == [2, 1]  # the first text is known, whatever stands beside it
    shorter = torch.cat([IDS[1:, :4], torch.full((1, 4), 9)])
    again = tuned(input_ids=shorter).logits[0]  # the second text without its padding
    torch.testing.assert_close(again, wanted[1])
    assert calls == [2, 1, 1]


def test_training_has_no_dropout_in_the_backbone_and_gradients_at_the_head_alone(pooled):
    tuned = Head().attach(pooled, seed=0)
    params = Head().parameters(tuned)
    assert sorted(params) == ["classifier.bias", "classifier.weight"]
    tuned.dropout.p = 0.0
    tuned.train()
    one = tuned(input_ids=IDS, attention_mask=MASK).logits
    fresh = pool_mean(load_again(tuned))
    torch.testing.assert_close(one, fresh(input_ids=IDS, attention_mask=MASK).logits)
    one.sum().backward()
    assert {name for name, p in tuned.named_parameters() if p.grad is not None} == set(params)


def load_again(tuned):
    from pathlib import Path

    return load(Path(tuned.name_or_path))


def test_a_head_that_reads_more_than_one_vector_is_trained_without_keeping_any(tiny_bert_folder):
    tuned = Head().attach(load(tiny_bert_folder), seed=0)
    assert any("with task: {pooling: mean} vectors are computed once" in note for note in notes_of(tuned))


def test_language_models_are_refused(tiny_backbone_folder):
    with pytest.raises(SettingError, match="it has no head for classes; choose task: classification, or tuning: lora"):
        Head().attach(load(tiny_backbone_folder), seed=0)


def test_what_is_saved_comes_back(pooled, tiny_bert_folder, tmp_path):
    tuned = Head().attach(pooled, seed=0)
    with torch.no_grad():
        for parameter in Head().parameters(tuned).values():
            parameter.add_(1.0)
    Head().save(tuned, tmp_path / "model")
    again = Head().attach(pool_mean(load(tiny_bert_folder)), seed=0)
    Head().restore(again, tmp_path / "model")
    torch.testing.assert_close(again(input_ids=IDS).logits, tuned(input_ids=IDS).logits)
    with pytest.raises(SettingError, match="holds no model with a head of this shape"):
        Head().restore(again, tmp_path)
