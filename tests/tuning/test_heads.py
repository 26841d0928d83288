"""Which trained weights belong to a classifier's head, under every tuning."""

import pytest
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from fedtailor.tuning import TUNINGS, head_names

SETTINGS = {"peft": {"type": "IA3"}, "lora": {"rank": 2}, "fed-sb": {"rank": 2}, "prefix": {"length": 2, "hidden": 8}}


@pytest.mark.parametrize("kind", TUNINGS)
def test_a_heads_weights_are_its_matrix_and_its_bias(kind, tiny_bert_folder):
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert_folder, num_labels=3)
    tuning = TUNINGS[kind](**SETTINGS.get(kind, {}))
    tuned = tuning.attach(model, 0)
    params = tuning.parameters(tuned)
    found = head_names(tuned, params)
    assert sorted(tuple(params[name].shape) for name in found) == [(3,), (3, 16)]


def test_a_language_model_has_none(tiny_backbone_folder):
    model = AutoModelForCausalLM.from_pretrained(tiny_backbone_folder)
    assert head_names(model, ["score.weight", "model.norm.weight"]) == frozenset()
