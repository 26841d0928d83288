"""The context of a model is what its forward pass takes, whatever its family numbers its positions from."""

import pytest
import torch
import transformers as t

from fedtailor.tasks.text.positions import UNLIMITED, measure_context

WIDE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}
GPT = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2}
SEQ = {"d_model": 16, "vocab_size": 50, "max_position_embeddings": 12}
FALCON = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50, "max_position_embeddings": 12}


def bert_like(kind, **more):
    config = getattr(t, f"{kind}Config")(**WIDE, pad_token_id=1, **more)
    return getattr(t, f"{kind}ForSequenceClassification")(config)


TABLES = {  # the settings say 12 or 14; rows that stand before the first position are no context
    "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**GPT, n_positions=12)),
    "gptj": lambda: t.GPTJForCausalLM(t.GPTJConfig(**GPT, n_positions=12, rotary_dim=4)),
    "opt": lambda: t.OPTForCausalLM(
        t.OPTConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=1,
            ffn_dim=32,
            num_attention_heads=2,
            word_embed_proj_dim=16,
            max_position_embeddings=12,
        )
    ),
    "bart": lambda: t.BartForSequenceClassification(
        t.BartConfig(
            **SEQ,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
        )
    ),
    "mpt": lambda: t.MptForCausalLM(t.MptConfig(vocab_size=50, d_model=16, n_layers=1, n_heads=2, max_seq_len=12)),
    "bert": lambda: bert_like("Bert", max_position_embeddings=12),
    "roberta": lambda: bert_like("Roberta", max_position_embeddings=14),
    "xlm-roberta": lambda: bert_like("XLMRoberta", max_position_embeddings=14),
    "mpnet": lambda: bert_like("MPNet", max_position_embeddings=14),
    "longformer": lambda: bert_like("Longformer", max_position_embeddings=14, attention_window=4),
}
TURNING = {"llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**WIDE, max_position_embeddings=12))}
WITHOUT = {
    "bloom": lambda: t.BloomForCausalLM(t.BloomConfig(vocab_size=50, hidden_size=16, n_layer=1, n_head=2)),
    "deberta": lambda: bert_like(
        "DebertaV2", max_position_embeddings=12, relative_attention=True, position_biased_input=False, pos_att_type=["p2c", "c2p"]
    ),
    "t5": lambda: t.T5ForSequenceClassification(
        t.T5Config(
            vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0, eos_token_id=2
        )
    ),
    "xlnet": lambda: t.XLNetForSequenceClassification(t.XLNetConfig(vocab_size=50, d_model=16, n_layer=1, n_head=2, d_inner=32)),
}


def takes(model, tokens):
    ids = torch.full((1, tokens), 7)
    ids[0, -1] = 2  # the end token, where classifiers of encoder-decoders read
    try:
        with torch.no_grad():
            model(input_ids=ids)
    except (IndexError, RuntimeError):
        return False
    return True


@pytest.mark.parametrize("family", TABLES)
def test_a_table_of_positions_ends_where_the_forward_pass_fails(family):
    model = TABLES[family]().eval()
    assert measure_context(model) == 12
    assert takes(model, 12)
    assert not takes(model, 13)


def test_of_rotations_the_settings_say_how_far_they_were_trained():
    assert measure_context(TURNING["llama"]().eval()) == 12


@pytest.mark.parametrize("family", WITHOUT)
def test_relative_positions_have_no_limit(family):
    model = WITHOUT[family]().eval()
    assert measure_context(model) == UNLIMITED
    assert takes(model, 40)


def test_measuring_leaves_the_model_and_chance_as_they_were():
    model, state = TABLES["roberta"]().train(), torch.get_rng_state()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure_context(model)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_of_other_inputs_has_the_context_of_its_settings():
    class Strange(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.config = t.GPT2Config(n_positions=33)
            self.weight = torch.nn.Parameter(torch.zeros(1))

    assert measure_context(Strange()) == 33
