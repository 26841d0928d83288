import pytest

from fedtailor.errors import DataError, SettingError
from fedtailor.models.tokenizer import load_tokenizer
from fedtailor.records import Example
from fedtailor.tasks import ReferenceLikelihood

TASK = ReferenceLikelihood(max_tokens=4, answer_tokens=3)


def example(number, text, answer):
    return Example(id=f"e-{number}", fields={"input": text, "target": answer})


def test_texts_and_references_are_kept_and_long_ones_lose_their_end(tiny_backbone_folder):
    tokenizer = load_tokenizer(tiny_backbone_folder)
    long = "abcdefgh" * 4
    shard = TASK.prepare(
        [example(0, "ab", "cd"), example(1, " ", "x"), example(2, "x", ""), example(3, long, long)],
        tokenizer,
        keep_examples=False,
    )
    assert [id for id, _ in shard.dropped] == ["e-1", "e-2"]
    first, (text, answer) = TASK.pairs(shard, [0, 1])
    assert first == ("ab", "cd")
    assert [len(tokenizer(one, add_special_tokens=False)["input_ids"]) for one in (text, answer)] == [4, 3]
    assert TASK.shortened(long, tokenizer) == text
    with pytest.raises(DataError, match="nothing to answer"):
        TASK.shortened(" ", tokenizer)


def test_what_means_nothing_is_named():
    with pytest.raises(SettingError, match="answer_tokens is a whole number"):
        ReferenceLikelihood(answer_tokens=0)
    with pytest.raises(SettingError, match="choose task: generation"):
        TASK.batch(None, None, [])
