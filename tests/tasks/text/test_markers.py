"""The spelling of a special token in data is text, whatever the tokenizer; in a template it is the token."""

import re

import pytest
from shards import counted, example, uncounted
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from fedtailor.records import Example
from fedtailor.tasks import Classification, Generation, LanguageModeling
from fedtailor.tasks.text.markers import BASES, markers_of
from fedtailor.tasks.text.tokenization import encode

LETTERS = [chr(sign) for sign in range(33, 127)]


def word_pieces() -> PreTrainedTokenizerFast:
    """Return a tokenizer as of BERT, whose own words hold its special tokens."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "say", *LETTERS, *(f"##{sign}" for sign in LETTERS)]
    inner = Tokenizer(models.WordPiece({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", eos_token="[SEP]"
    )


def unigrams() -> PreTrainedTokenizerFast:
    """Return a tokenizer as of T5: its model knows `</s>` as a word, and wide letters are made narrow before it looks."""
    words = [("<unk>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("▁", -3.0), *((sign, -4.0) for sign in LETTERS)]
    inner = Tokenizer(models.Unigram(words, unk_id=0, byte_fallback=False))
    inner.normalizer = normalizers.NFKC()
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


KINDS = (
    "bytes",
    "bytes-across-words",
    "bytes-with-marks",
    "metaspace-first",
    "metaspace-always",
    "characters",
    "words",
    "unigrams",
)


@pytest.fixture(scope="module")
def kinds(tokenizers):
    return {**tokenizers, "words": word_pieces(), "unigrams": unigrams()}


def spelled(tokenizer, ids):
    text = "".join(tokenizer.convert_ids_to_tokens(list(ids))).replace("##", "").replace("▁", "").replace("Ġ", "")
    return re.sub("<0x(..)>", lambda byte: chr(int(byte.group(1), 16)), text)


@pytest.mark.parametrize("kind", KINDS)
def test_marker_in_data_is_made_of_its_characters_in_every_task(kind, kinds):
    tokenizer = kinds[kind]
    marker, special = tokenizer.eos_token, set(tokenizer.all_special_ids)
    text = f"say{marker} say{marker}{marker}"
    tasks = (
        (Generation(template="{input} {target}"), {"input": text, "target": text}),
        (LanguageModeling(join=""), {"text": text}),
        (Classification(labels=("a", "b")), {"text": text, "label": "a"}),
    )
    for task, fields in tasks:
        shard = task.prepare([Example(id="a", fields=fields)], tokenizer, keep_examples=False)
        marks = tokenizer("")["input_ids"]  # of the tokenizer's own; behind a target there is its end token
        assert sum(token in special for token in shard.tokens_T.tolist()) <= max(1, len(marks))
        assert spelled(tokenizer, shard.tokens_T.tolist()).count(marker) >= 3
        assert shard.marked == 1
    (tokens,) = encode(tokenizer, [text])
    assert special.isdisjoint(tokens.ids)
    assert spelled(tokenizer, tokens.ids) == text.replace(" ", "")
    assert tokens.spans[0][0] == 0
    assert tokens.spans[-1][1] == len(text)


@pytest.mark.parametrize("kind", KINDS)
def test_text_without_markers_has_the_tokens_that_it_always_had(kind, kinds):
    tokenizer = kinds[kind]
    texts = ["say this", "<s", "pad> </s", "", "a [ CLS ] b"]
    assert [list(tokens.ids) for tokens in encode(tokenizer, texts)] == tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert not any(tokens.marked for tokens in encode(tokenizer, texts))


def test_around_a_marker_tokens_are_those_of_the_whole_text_as_characters(tokenizers):
    text = "The </s>The Eagle </s>"
    for kind in ("bytes", "bytes-across-words", "metaspace-first", "metaspace-never"):
        (found,) = encode(tokenizers[kind], [text])
        assert list(found.ids) == tokenizers[kind](text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def test_marker_of_the_template_is_the_token_beside_one_of_the_data(tokenizers):
    tokenizer = tokenizers["bytes"]
    task = Generation(template="<s>{input}</s>{target}")
    shard = task.prepare([example("a</s>b<s>", "c</s>")], tokenizer, keep_examples=False)
    begin, end = tokenizer.convert_tokens_to_ids(["<s>", "</s>"])
    before, behind = uncounted(shard), counted(shard)
    assert (before[0], before[-1], before.count(begin), before.count(end)) == (begin, end, 1, 1)
    assert tokenizer.decode(before) == "<s>a</s>b<s></s>"
    assert (behind[-1], behind.count(end)) == (end, 1)
    assert before == task.prompts([example("a</s>b<s>")], tokenizer)[0]


def test_data_and_template_together_make_no_marker(tokenizers):
    tokenizer = tokenizers["bytes"]
    prompts = Generation(template="<{input}>\n{target}").prompts([example("s"), example("/s")], tokenizer)
    assert {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<s>")}.isdisjoint({*prompts[0], *prompts[1]})
    assert tokenizer.decode(prompts[0]) == "<s>\n"


def test_what_joins_lines_may_be_a_special_token(tokenizers):
    tokenizer = tokenizers["bytes"]
    lines = [Example(id=str(n), fields={"text": text}) for n, text in enumerate(("one</s>", "two"))]
    ids = LanguageModeling(join="</s>").prepare(lines, tokenizer, keep_examples=False).tokens_T.tolist()
    assert ids.count(tokenizer.eos_token_id) == 2
    assert tokenizer.decode(ids) == "one</s></s>two</s>"


def test_nobody_can_write_a_stand_in(tokenizers):
    tokenizer = tokenizers["bytes"]
    for base in BASES[:3]:
        forged = "".join(chr(base + place) * length for place in range(3) for length in range(1, 8))
        (tokens,) = encode(tokenizer, [f"</s>{forged}"])
        assert set(tokenizer.all_special_ids).isdisjoint(tokens.ids)
        assert tokenizer.decode(tokens.ids) == f"</s>{forged}"


def test_unknown_characters_are_no_markers():
    tokenizer = word_pieces()
    (tokens,) = encode(tokenizer, ["say é"])
    assert list(tokens.ids) == tokenizer("say é", add_special_tokens=False)["input_ids"]
    (tokens,) = encode(tokenizer, ["é [UNK]"])
    assert tokenizer.convert_ids_to_tokens(tokens.ids) == ["[UNK]", "[", "##U", "##N", "##K", "##]"]


def test_wide_letters_that_are_made_narrow_are_no_marker():
    tokenizer = unigrams()
    wide = "\uff1c/s\uff1e"
    assert tokenizer.eos_token_id in tokenizer(wide, add_special_tokens=False)["input_ids"]
    assert tokenizer.eos_token_id not in encode(tokenizer, [wide])[0].ids


def test_added_words_that_are_no_special_tokens_stay_what_they_are(tokenizers):
    assert markers_of(tokenizers["bytes"]).names.keys() == {0, 1, 2}
