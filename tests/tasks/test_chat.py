"""Generation with the chat template of a model."""

import copy

import pytest
from shards import counted, example, row, uncounted

from fedtailor.errors import BackboneError, DataError
from fedtailor.tasks import Generation


def test_chat_template_is_the_models_own(tiny_backbone_folder):
    from transformers import AutoTokenizer

    tokenizer, task = AutoTokenizer.from_pretrained(tiny_backbone_folder), Generation(chat=True)
    shard = task.tokenize([example("Who?", "The Eagle.")], tokenizer, keep_examples=False)
    assert tokenizer.decode(uncounted(shard)) == "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(counted(shard)) == "The Eagle.<|im_end|>"
    assert uncounted(shard) == task.prompts([example("Who?")], tokenizer)[0]


def test_long_chat_loses_the_beginning_of_the_last_turn_alone(tiny_backbone_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone_folder)
    long = "x y " * 200 + "the end"
    shard = Generation(chat=True, max_tokens=60).tokenize([example(long, "Yes.")], tokenizer, keep_examples=False)
    text = tokenizer.decode(row(shard)[0])
    assert len(row(shard)[0]) == 60
    assert text.startswith("<|im_start|>user\n")
    assert text.endswith("the end<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>")


def test_turns_may_be_given_as_a_list(tiny_backbone_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone_folder)
    turns = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Who?"}]
    shard = Generation(chat=True).tokenize([example(turns, "Me.")], tokenizer, keep_examples=False)
    assert tokenizer.decode(uncounted(shard)).startswith("<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nWho?")
    with pytest.raises(DataError, match="chat: true"):
        Generation().tokenize([example(turns, "Me.")], tokenizer, keep_examples=False)


def test_missing_chat_template_and_missing_end_token_are_told(tokenizers):
    with pytest.raises(BackboneError, match="no chat template"):
        Generation(chat=True).tokenize([example()], tokenizers["bytes"], keep_examples=False)
    endless = copy.deepcopy(tokenizers["bytes"])
    endless.eos_token = None
    with pytest.raises(BackboneError, match="no end token"):
        Generation().tokenize([example()], endless, keep_examples=False)


TALK = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "one two three four five"},
    {"role": "assistant", "content": "Six."},
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "Me."},
]
TALK_INPUT = "\n".join(f"{turn['role']}: {turn['content']}" for turn in TALK[:-1])


def test_conversations_keep_their_roles(tiny_backbone_folder):
    from transformers import AutoTokenizer

    tokenizer, task = AutoTokenizer.from_pretrained(tiny_backbone_folder), Generation(chat=True)
    talk = example(TALK_INPUT, "Me.", messages=TALK)
    shard = task.tokenize([talk], tokenizer, keep_examples=False)
    want = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in TALK[:-1])
    assert tokenizer.decode(uncounted(shard)) == want + "<|im_start|>assistant\n"
    assert tokenizer.decode(counted(shard)) == "Me.<|im_end|>"
    assert uncounted(shard) == task.prompts([talk], tokenizer)[0]


def test_messages_that_are_not_the_example_are_left_alone(tiny_backbone_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone_folder)
    plain = Generation(chat=True).prompts([example("Hm?", "Me.")], tokenizer)
    assert Generation(chat=True).prompts([example("Hm?", "Me.", messages=TALK)], tokenizer) == plain
    assert Generation(chat=True).prompts([example("Hm?", "Me.", messages="Who?")], tokenizer) == plain


def test_long_conversation_loses_what_was_said_first_but_not_the_system(tiny_backbone_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone_folder)
    talk = example(TALK_INPUT, "Me.", messages=TALK)
    whole = len(row(Generation(chat=True).tokenize([talk], tokenizer, keep_examples=False))[0])
    shard = Generation(chat=True, max_tokens=whole - 3).tokenize([talk], tokenizer, keep_examples=False)
    text = tokenizer.decode(row(shard)[0])
    assert len(row(shard)[0]) == whole - 3
    assert text.startswith("<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\n")
    assert "one" not in text
    assert "five<|im_end|>" in text
    assert "Six.<|im_end|>\n<|im_start|>user\nWho?<|im_end|>" in text
    tight = Generation(chat=True, max_tokens=20).tokenize([talk], tokenizer, keep_examples=False)
    assert [name for name, _ in tight.dropped] == ["e-1"]


def test_roles_that_the_template_refuses_are_told(tiny_backbone_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone_folder)
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(DataError, match=r"e-1 has turns of the roles system, user, .*System role not supported"):
        Generation(chat=True).tokenize([example(TALK_INPUT, "Me.", messages=TALK)], tokenizer, keep_examples=False)
