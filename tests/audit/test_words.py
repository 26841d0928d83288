"""Words from rows that are combinations of their vectors."""

import torch

from fedtailor.audit.words import first_layer, joint_recovery, span_check, vectors

DRAW = torch.Generator().manual_seed(0)
VECTORS = torch.nn.functional.normalize(torch.randn(200, 32, generator=DRAW), dim=1)
TRUE = [3, 17, 60, 61, 199]


def test_the_span_names_every_word_where_rows_are_as_many():
    rows = torch.randn(12, len(TRUE), generator=DRAW) @ VECTORS[TRUE]  # of rank 5
    assert sorted(span_check(rows, VECTORS, 5)) == TRUE


def test_joint_recovery_needs_fewer_rows_than_words():
    rows = torch.randn(3, len(TRUE), generator=DRAW) @ VECTORS[TRUE]  # of rank 3
    assert len(set(joint_recovery(rows, VECTORS, 5)) & set(TRUE)) >= 4


def test_noise_names_no_more_than_chance():
    rows = torch.randn(12, 32, generator=DRAW)
    assert len(set(span_check(rows, VECTORS, 5)) & set(TRUE)) <= 1
    assert len(set(joint_recovery(rows, VECTORS, 5)) & set(TRUE)) <= 1


def test_vectors_are_what_the_first_attention_sees(tiny_backbone_folder):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_backbone_folder)
    params = dict(model.named_parameters())
    layer, name = first_layer(model, params)
    assert name == "model.layers.0.self_attn.q_proj.weight"
    found = vectors(model, layer, model.config.vocab_size)
    wanted = model.model.layers[0].input_layernorm(model.get_input_embeddings().weight)
    torch.testing.assert_close(found, torch.nn.functional.normalize(wanted.detach(), dim=1))
