"""A model that is cut computes what it computes whole."""

from typing import Any

import pytest
import torch

from fedtailor.errors import BackboneError
from fedtailor.models.cut import Part, cut_model

BLOCKS = 4
IDS = torch.tensor([[5, 9, 3, 7, 2], [4, 8, 6, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
OTHER = torch.where(MASK.bool(), 1, 0)  # tokens that say nothing: those of a part that does not embed


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            n_embd=16, n_layer=BLOCKS, n_head=2, vocab_size=12, n_positions=16, pad_token_id=0, bos_token_id=1, eos_token_id=2
        )
    )


def llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": BLOCKS, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**shape, vocab_size=12, attention_dropout=0.2, pad_token_id=0))


def bert() -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": BLOCKS, "num_attention_heads": 2}
    return BertForSequenceClassification(BertConfig(**shape, vocab_size=12, num_labels=3, pad_token_id=0))


def qwen() -> Any:
    """A decoder that looks its mask up by the number of the block, with a head for classes: it searches the last real token."""
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": BLOCKS, "num_attention_heads": 2}
    layers = ["full_attention", "sliding_attention"] * (BLOCKS // 2)
    extra = {"layer_types": layers, "sliding_window": 2, "use_sliding_window": True, "max_window_layers": 0}
    return Qwen2ForSequenceClassification(
        Qwen2Config(**shape, **extra, num_key_value_heads=1, vocab_size=12, num_labels=3, pad_token_id=0)
    )


SHAPES = [gpt2, llama, bert, qwen]


@pytest.fixture(params=SHAPES, ids=lambda make: make.__name__)
def model(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return request.param().train()


def cut(model):
    return cut_model(model, lambda: model(input_ids=IDS))


def draws(place: int) -> int:
    return 100 + place


def test_parts_give_what_the_whole_gives_with_dropout(model):
    parts = cut(model)
    whole = parts.run(lambda: model(input_ids=IDS, attention_mask=MASK).logits, Part(), tensors={}, draws=draws)
    for at in range(1, BLOCKS + 1):
        front = parts.run(lambda: model(input_ids=IDS, attention_mask=MASK), Part(stop=at), tensors={}, draws=draws)
        assert front.shape == (2, 5, 16)
        middle = front
        if at < BLOCKS:
            middle = parts.run(
                lambda: model(input_ids=OTHER, attention_mask=MASK), Part(start=at, stop=BLOCKS), tensors={}, received_BLH=front, draws=draws
            )  # fmt: skip
        tail = parts.run(
            lambda: model(input_ids=OTHER, attention_mask=MASK).logits, Part(start=BLOCKS), tensors={}, received_BLH=middle, draws=draws
        )  # fmt: skip
        rest = parts.run(
            lambda: model(input_ids=OTHER, attention_mask=MASK).logits, Part(start=at), tensors={}, received_BLH=front, draws=draws
        )  # fmt: skip
        real = MASK.bool() if whole.dim() == 3 else slice(None)
        torch.testing.assert_close(tail[real], whole[real], rtol=0, atol=1e-6)
        torch.testing.assert_close(rest[real], whole[real], rtol=0, atol=1e-6)


def test_the_model_is_left_as_it_was(model):
    parts = cut(model)
    state = torch.random.get_rng_state()
    parts.run(lambda: model(input_ids=IDS), Part(stop=1), tensors={}, draws=draws)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any("forward" in vars(block) for block in parts.blocks)
    with pytest.raises(ZeroDivisionError):
        parts.run(lambda: 1 / 0, Part(stop=1), tensors={})
    assert not any("forward" in vars(block) for block in parts.blocks)


def test_every_parameter_has_its_place(model):
    parts = cut(model)
    places = {name: parts.place(name) for name, _ in model.named_parameters()}
    embedding = [name for name, place in places.items() if place == -1]
    assert all("embed" in name or "wte" in name or "wpe" in name for name in embedding)
    assert embedding
    assert {place for name, place in places.items() if f"{parts.path}." in name} == set(range(BLOCKS))
    behind = [name for name, place in places.items() if place == BLOCKS]
    assert behind
    assert all(any(word in name for word in ("norm", "ln_f", "score", "classifier", "pooler", "lm_head")) for name in behind)


def test_tensors_take_the_place_of_parameters_in_one_call_alone(model):
    parts = cut(model)
    name = next(name for name, _ in model.named_parameters() if parts.place(name) == 0)
    own = dict(model.named_parameters())[name]
    other = torch.zeros_like(own, requires_grad=True)
    run = lambda tensors: parts.run(lambda: model(input_ids=IDS), Part(stop=1), tensors=tensors, draws=draws)  # noqa: E731
    before, changed = run({}), run({name: other})
    assert not torch.equal(before, changed)
    changed.sum().backward()
    assert other.grad is not None
    assert own.grad is None
    assert torch.equal(run({}), before)


def test_a_model_without_a_list_of_blocks_is_refused():
    with pytest.raises(BackboneError, match="no list of None blocks"):
        cut_model(torch.nn.Linear(2, 2), lambda: None)
