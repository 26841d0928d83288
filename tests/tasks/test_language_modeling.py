from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtailor.errors import DataError, SettingError
from fedtailor.records import Example
from fedtailor.tasks import LanguageModeling
from fedtailor.tasks.language_modeling import windows


def lines(*texts):
    return [Example(id=f"l-{number}", fields={"text": text}) for number, text in enumerate(texts)]


def rows(shard):
    starts = shard.starts.tolist()
    return [(shard.tokens_T[a:b].tolist(), shard.target_T[a:b].tolist()) for a, b in pairwise(starts)]


def test_blocks_share_one_token_of_context_and_count_every_other_one_once(tokenizers):
    # one token a character: "abc\ndef\n" is 8 tokens; blocks of 4 that move by 3: abc\n, \ndef, f\n
    tokenizer = tokenizers["characters"]
    shard = LanguageModeling(block=4).prepare(lines("abc", "def"), tokenizer, keep_examples=False)
    assert [(tokenizer.decode(ids), mask) for ids, mask in rows(shard)] == [
        ("abc\n", [False, True, True, True]),
        ("\ndef", [False, True, True, True]),
        ("f\n", [False, True]),
    ]


def test_stride_gives_more_context_and_still_counts_once(tokenizers):
    # blocks of 4 that move by 2: abcd counts bcd, cdef counts ef
    tokenizer = tokenizers["characters"]
    shard = LanguageModeling(block=4, stride=2, join="").prepare(lines("abcdef"), tokenizer, keep_examples=False)
    assert [(tokenizer.decode(ids), sum(mask)) for ids, mask in rows(shard)] == [("abcd", 3), ("cdef", 2)]


@given(tokens=st.integers(0, 60), block=st.integers(2, 12), data=st.data())
def test_windows_count_each_token_but_the_first_once_and_never_pass_the_block(tokens, block, data):
    stride = data.draw(st.integers(1, block - 1))
    seen = []
    for begin, first, end in windows(tokens, block, stride):
        assert begin < first < end <= begin + block
        seen += range(first, end)
    assert seen == list(range(1, tokens))


@settings(deadline=None)
@given(texts=st.lists(st.text(alphabet="ab  é\t", max_size=12), max_size=8), block=st.integers(2, 9))
def test_words_are_counted_whole_whatever_the_blocks(tokenizers, texts, block):
    # Penn Treebank's rule: the words of each line and one for its end
    shard = LanguageModeling(block=block).prepare(lines(*texts), tokenizers["bytes"], keep_examples=False)
    if len(shard):
        assert int(shard.words_N.sum()) == sum(len(text.split()) + 1 for text in texts)


def test_many_lines_are_encoded_in_parts_and_lose_nothing(tokenizers):
    texts = [f"line number {number}" for number in range(600)]
    shard = LanguageModeling(block=32).prepare(lines(*texts), tokenizers["bytes"], keep_examples=False)
    counted = "".join(tokenizers["bytes"].decode([t for t, m in zip(*row, strict=True) if m]) for row in rows(shard))
    first = tokenizers["bytes"].decode([int(shard.tokens_T[0])])  # nothing comes before it
    assert first + counted == "".join(text + "\n" for text in texts)
    assert int(shard.words_N.sum()) == 600 * 4
    assert max(len(ids) for ids, _ in rows(shard)) == 32


def test_mark_of_the_beginning_makes_the_first_token_count(tokenizers):
    tokenizer = tokenizers["bytes-with-marks"]
    [(ids, mask)] = rows(LanguageModeling(join="").prepare(lines("The Eagle"), tokenizer, keep_examples=False))
    assert tokenizer.decode(ids) == "<s>The Eagle"
    assert mask == [False] + [True] * (len(ids) - 1)


def test_nothing_to_predict_is_named(tokenizers):
    shard = LanguageModeling(join="").prepare(lines("", ""), tokenizers["bytes"], keep_examples=False)
    assert (len(shard), [name for name, _ in shard.dropped]) == (0, ["l-0", "l-1"])


def test_missing_text_is_named(tokenizers):
    with pytest.raises(DataError, match=r"l-0 has no column 'text'.*it has line"):
        LanguageModeling().prepare([Example(id="l-0", fields={"line": "a"})], tokenizers["bytes"], keep_examples=False)


@pytest.mark.parametrize(("name", "value"), [("block", 1), ("block", "256"), ("stride", 0), ("stride", 256), ("join", None)])
def test_bad_settings_are_refused_by_name(name, value):
    with pytest.raises(SettingError, match=f"^{name} is"):
        LanguageModeling(**{name: value})


def test_a_text_to_continue_begins_as_in_training_and_has_no_end(tokenizers):
    tokenizer = tokenizers["bytes-with-marks"]
    assert tokenizer.decode(tokenizer("The")["input_ids"]) == "<s>The</s>"
    assert tokenizer.decode(LanguageModeling().opening("The</s>", tokenizer)[:2]) == "<s>The"
    assert tokenizer.eos_token_id not in LanguageModeling().opening("The</s>", tokenizer)
