import pytest
import torch

from fedtailor.errors import SettingError
from fedtailor.tasks.text.generate import Decoding, evaluating, generate, pad_left
from fedtailor.tasks.text.ways import choose_way
from fedtailor.tuning import Prefix, Prompt

PROMPTS = [[5, 6, 7, 8, 9, 10], [11, 12], [13, 14, 15], [11, 12], [200, 100, 50, 25]]


def load(folder, seed=1, std=0.5):
    """Return a model whose weights are large, so that its texts differ from prompt to prompt and some of them end."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=std)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def ending(model, tokenizer, places):
    """Make the tokens that the model likes to write after some steps its end tokens, so that texts end at different times."""
    ids = model.generate(input_ids=torch.tensor([PROMPTS[0]]), do_sample=False, max_new_tokens=20, eos_token_id=None)[0].tolist()
    model.generation_config.eos_token_id = [ids[len(PROMPTS[0]) + place] for place in places]


def one_by_one(model, tokenizer, decoding):
    """Return what transformers' own `generate` writes, one prompt at a time and so without padding."""
    ends = [tokenizer.eos_token_id, *model.generation_config.eos_token_id]
    texts = []
    for prompt in PROMPTS:
        found = model.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            do_sample=False,
            num_beams=decoding.beams,
            max_new_tokens=decoding.max_new_tokens,
            no_repeat_ngram_size=decoding.no_repeat_ngram,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
        )
        texts.append(tokenizer.decode(found[0, len(prompt) :], skip_special_tokens=True).strip())
    return texts


@pytest.mark.parametrize("folder", ["tiny_backbone_folder", "tiny_gpt2_folder"])
@pytest.mark.parametrize("decoding", [Decoding(max_new_tokens=12, batch_size=3), Decoding(max_new_tokens=12)], ids=["3", "64"])
def test_batches_write_what_transformers_writes_one_by_one(request, folder, decoding):
    model, tokenizer = load(request.getfixturevalue(folder))
    ending(model, tokenizer, places=(6,))
    assert generate(model, tokenizer, PROMPTS, decoding) == one_by_one(model, tokenizer, decoding)


@pytest.mark.parametrize(
    "decoding", [Decoding(beams=3, max_new_tokens=8), Decoding(no_repeat_ngram=2, max_new_tokens=12)], ids=["beams", "ngram"]
)
def test_other_ways_of_decoding_are_those_of_transformers(tiny_backbone_folder, decoding):
    model, tokenizer = load(tiny_backbone_folder)
    ending(model, tokenizer, places=(4,))
    assert generate(model, tokenizer, PROMPTS, decoding) == one_by_one(model, tokenizer, decoding)


FRONTS = [Prefix(length=4, hidden=8), Prefix(length=4, exchange="prefix"), Prompt(length=4)]


@pytest.mark.parametrize("folder", ["tiny_backbone_folder", "tiny_gpt2_folder"])
@pytest.mark.parametrize("tuning", FRONTS, ids=["network", "vectors", "prompt"])
def test_with_something_in_front_the_texts_are_those_of_the_training_forward_pass(request, folder, tuning):
    model, tokenizer = load(request.getfixturevalue(folder))
    model = tuning.attach(model.requires_grad_(False), 0)
    for parameter in tuning.parameters(model).values():
        parameter.data.mul_(3)
    wanted = []
    for prompt in PROMPTS:  # no cache, no padding, no positions: as the loss sees it
        ids = list(prompt)
        while len(ids) < len(prompt) + 6 and (len(ids) == len(prompt) or ids[-1] != tokenizer.eos_token_id):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        wanted.append(tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True).strip())
    assert generate(model, tokenizer, PROMPTS, Decoding(max_new_tokens=6)) == wanted
    assert len(set(wanted)) > 1
    beams = Decoding(max_new_tokens=6, beams=2)
    assert generate(model, tokenizer, PROMPTS, beams) == [generate(model, tokenizer, [p], beams)[0] for p in PROMPTS]
    with pytest.raises(SettingError, match=r"max_new_tokens = 252 leaves no room.*context of 252"):  # 4 of 256 are taken
        generate(model, tokenizer, PROMPTS, Decoding(max_new_tokens=252))


def test_texts_of_different_lengths_leave_the_batch_one_after_the_other(tiny_backbone_folder):
    model, tokenizer = load(tiny_backbone_folder)
    ending(model, tokenizer, places=(6,))
    sizes = []
    choose_way(model, Decoding())  # tried out before
    model.register_forward_pre_hook(lambda _, args, given: sizes.append(len(given["input_ids"])), with_kwargs=True)
    texts = generate(model, tokenizer, PROMPTS, Decoding(max_new_tokens=24))
    assert sizes[0] == 4  # one of five prompts comes twice
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(texts)) > 1
    assert sizes[-1] < 4


def test_long_prompt_loses_its_beginning(tiny_gpt2_folder):
    model, tokenizer = load(tiny_gpt2_folder)  # context of 256
    prompt = [number % 200 + 5 for number in range(300)]
    decoding = Decoding(max_new_tokens=6)
    assert generate(model, tokenizer, [prompt], decoding) == generate(model, tokenizer, [prompt[-250:]], decoding)
    with pytest.raises(SettingError, match=r"max_new_tokens = 256 leaves no room.*256"):
        generate(model, tokenizer, [prompt], Decoding(max_new_tokens=256))


def test_dropout_is_off_while_writing_and_on_again_afterwards(tiny_backbone_folder):
    model, _ = load(tiny_backbone_folder)
    model.train()
    with evaluating(model):
        assert not model.training
    assert model.training


def test_padding_is_on_the_left():
    ids, mask = pad_left([[1, 2, 3], [4]], pad_id=9)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize(
    ("name", "value"),
    [("beams", 0), ("max_new_tokens", 0), ("no_repeat_ngram", -1), ("batch_size", 2.0), ("length_penalty", "1")],
)
def test_bad_settings_are_refused_by_name(name, value):
    with pytest.raises(SettingError, match=f"^{name} is"):
        Decoding(**{name: value})
