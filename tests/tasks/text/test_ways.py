"""Models that write otherwise than Llama: no mask, caches of their own, positions of their own; and backbones that bring settings."""

import json
import shutil

import pytest
import torch
from conftest import save_tiny

from fedtailor.errors import BackboneError
from fedtailor.models import load_backbone
from fedtailor.tasks.text.decode import by_reading_again, by_transformers, greedy, read_whole
from fedtailor.tasks.text.generate import Decoding, generate
from fedtailor.tasks.text.ways import choose_way

PROMPTS = [[5, 6, 7, 8, 9, 10, 30, 31, 32], [11, 12], [13, 14, 15], [200, 100, 50, 25], [40], [60, 61, 62, 63, 64, 65]]


def lively(model, by=6):
    """Make the weights large, so that texts differ from prompt to prompt."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(by)
    return model


def rwkv(ids):
    from transformers import RwkvConfig, RwkvForCausalLM

    return lively(RwkvForCausalLM(RwkvConfig(**ids, hidden_size=16, num_hidden_layers=2, context_length=256)))


def minimax(ids):
    from transformers import MiniMaxConfig, MiniMaxForCausalLM

    config = MiniMaxConfig(
        **ids,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        intermediate_size=32,
        num_local_experts=2,
        block_size=4,
        max_position_embeddings=256,
        layer_types=["linear_attention", "full_attention"],
    )
    model = lively(MiniMaxForCausalLM(config))
    model.generation_config.eos_token_id = [2, *range(20, 170)]  # many texts end early
    return model


def bloom(ids):
    from transformers import BloomConfig, BloomForCausalLM

    return lively(BloomForCausalLM(BloomConfig(**ids, hidden_size=16, n_layer=2, n_head=2)))


def mamba(ids):
    from transformers import MambaConfig, MambaForCausalLM

    return lively(MambaForCausalLM(MambaConfig(**ids, hidden_size=16, num_hidden_layers=2, state_size=4, time_step_rank=2)))


def roberta(ids):
    from transformers import RobertaConfig, RobertaForCausalLM

    config = RobertaConfig(
        **ids,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=260,
        is_decoder=True,
    )
    return lively(RobertaForCausalLM(config), by=20)


def bart(ids):
    from transformers import BartConfig, BartForCausalLM

    config = BartConfig(
        **ids, d_model=16, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=32, max_position_embeddings=256
    )
    return lively(BartForCausalLM(config), by=20)


def loaded(folder, make):
    backbone = load_backbone(str(save_tiny(folder, make)), device=torch.device("cpu"), base=folder, seed=0)
    return backbone.model, backbone.processor


def read_anew(model, tokenizer, count):
    """Return the greedy texts by the forward pass of training alone: each prompt on its own, read again for each token."""
    named = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])}
    texts = []
    for prompt in PROMPTS:
        ids = list(prompt)
        with torch.no_grad():
            while len(ids) < len(prompt) + count and (len(ids) == len(prompt) or ids[-1] not in ends):
                ids.append(int(read_whole(model, torch.tensor([ids]))[0, -1].argmax()))
        texts.append(tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True).strip())
    return texts


@pytest.mark.parametrize("make", [rwkv, minimax, bloom, mamba, roberta, bart], ids=lambda make: make.__name__)
def test_a_text_does_not_hang_on_its_batch(tmp_path, make):
    model, tokenizer = loaded(tmp_path / "model", make)
    wanted = read_anew(model, tokenizer, 10)
    assert len(set(wanted)) > 3
    for batch_size in (1, 3, 64):
        assert generate(model, tokenizer, PROMPTS, Decoding(max_new_tokens=10, batch_size=batch_size)) == wanted


@pytest.mark.parametrize("make", [rwkv, minimax, mamba, roberta], ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    "decoding", [Decoding(beams=3, max_new_tokens=6), Decoding(no_repeat_ngram=2, max_new_tokens=6)], ids=["beams", "ngram"]
)
def test_other_rules_write_alike_in_any_batch_or_are_refused(tmp_path, make, decoding):
    model, tokenizer = loaded(tmp_path / "model", make)
    try:
        together = generate(model, tokenizer, PROMPTS, decoding)
    except BackboneError:
        with pytest.raises(BackboneError, match=r"cannot write texts with .* evaluation.generate.beams: 1"):
            generate(model, tokenizer, PROMPTS, decoding)
        return
    assert together == [generate(model, tokenizer, [prompt], decoding)[0] for prompt in PROMPTS]


def test_the_usual_models_keep_the_quick_way(tiny_backbone_folder, tiny_gpt2_folder):
    for folder in (tiny_backbone_folder, tiny_gpt2_folder):
        model = load_backbone(str(folder), device=torch.device("cpu"), base=folder, seed=0).model
        for decoding, write in (
            (Decoding(), greedy),
            (Decoding(beams=2), by_transformers),
            (Decoding(no_repeat_ngram=2), by_transformers),
        ):
            way = choose_way(model, decoding)
            assert (way.write, way.together) == (write, True)


def test_a_way_is_found_once_and_draws_nothing(tiny_backbone_folder):
    model = load_backbone(str(tiny_backbone_folder), device=torch.device("cpu"), base=tiny_backbone_folder, seed=0).model
    before, calls = torch.random.get_rng_state(), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    assert choose_way(model, Decoding()) is choose_way(model, Decoding(max_new_tokens=3))
    assert len(calls) == 3  # two prompts, one more token, the text read whole
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_wrong_cache_is_noticed(tiny_backbone_folder):
    """A model whose cached pass is off by a little more than rounding is read again for each token."""
    model = load_backbone(str(tiny_backbone_folder), device=torch.device("cpu"), base=tiny_backbone_folder, seed=0).model

    def off(_, given, named, output):
        if named.get("use_cache"):
            output.logits = output.logits + 1e-3 * output.logits.abs().max() * torch.linspace(0, 1, output.logits.shape[-1])
        return output

    model.register_forward_hook(off, with_kwargs=True)
    way = choose_way(model, Decoding())
    assert not way.together
    assert way.write not in (greedy, by_transformers)
    assert choose_way(model, Decoding()).write is not by_reading_again  # transformers without a cache agrees


ODD = {
    "penalty": {"repetition_penalty": 1.5},
    "qwen": {"repetition_penalty": 1.2, "do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20},
    "shortest": {"min_new_tokens": 8},
    "least": {"min_length": 30},
    "longest": {"max_length": 3, "max_time": 0.0001},
    "stops": {"stop_strings": ["e"]},
    "dict": {"return_dict_in_generate": True, "output_scores": True, "output_attentions": True},
    "several": {"num_beams": 4, "num_return_sequences": 3},
    "bad words": {"bad_words_ids": [[n] for n in range(50, 250)], "suppress_tokens": list(range(5, 50))},
    "forced": {"forced_bos_token_id": 9, "forced_eos_token_id": 2},
    "uncached": {"use_cache": False},
    "static": {"cache_implementation": "static"},
    "guided": {"guidance_scale": 3.0},
    "lookup": {"prompt_lookup_num_tokens": 3},
    "early": {"early_stopping": "never", "length_penalty": 9.0},
    "watermark": {"watermarking_config": {"greenlist_ratio": 0.25, "bias": 9.0}},
    "wrong types": {"temperature": "warm", "top_k": [1], "num_beams": "many", "max_new_tokens": -4},
}


@pytest.mark.parametrize("name", ODD)
def test_settings_of_the_backbone_take_no_part(tmp_path, tiny_backbone_folder, name):
    def texts(extra):
        folder = shutil.copytree(tiny_backbone_folder, tmp_path / f"model-{len(extra)}")
        path = folder / "generation_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **extra}))
        backbone = load_backbone(str(folder), device=torch.device("cpu"), base=folder, seed=0)
        model = lively(backbone.model, by=20)
        rules = (Decoding(max_new_tokens=12), Decoding(no_repeat_ngram=3, max_new_tokens=12), Decoding(beams=3, max_new_tokens=6))
        return [generate(model, backbone.processor, PROMPTS, decoding) for decoding in rules]

    assert texts(ODD[name]) == texts({})
