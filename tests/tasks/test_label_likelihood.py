import pytest

from fedtailor.errors import DataError, SettingError
from fedtailor.models.tokenizer import load_tokenizer
from fedtailor.records import Example
from fedtailor.tasks import LabelLikelihood

TASK = LabelLikelihood(labels=("top_up", "age limit"), max_tokens=4)


def example(number, text, label):
    return Example(id=f"e-{number}", fields={"text": text, "label": label})


def test_texts_are_kept_and_long_ones_lose_their_end(tiny_backbone_folder):
    tokenizer = load_tokenizer(tiny_backbone_folder)
    examples = [example(0, "ab", "age limit"), example(1, " ", "top_up"), example(2, "abcdefgh" * 4, "top_up")]
    shard = TASK.prepare(examples, tokenizer, keep_examples=False)
    assert [id for id, _ in shard.dropped] == ["e-1"]
    (first, second), labels = TASK.pairs(shard, [0, 1]), shard.labels_N.tolist()
    assert first == ("ab", "age limit")
    assert labels == [1, 0]
    short = second[0]
    assert ("abcdefgh" * 4).startswith(short)
    assert len(tokenizer(short, add_special_tokens=False)["input_ids"]) == 4
    assert TASK.shortened("abcdefgh" * 4, tokenizer) == short
    assert shard.cut_N.tolist()[1] > 0


def test_labels_need_words_of_their_own(tiny_backbone_folder):
    assert TASK.words == ("top up", "age limit")
    with pytest.raises(SettingError, match="both written 'a b'"):
        LabelLikelihood(labels=("a_b", "a b"))
    with pytest.raises(SettingError, match="at least two"):
        LabelLikelihood(labels=("a",))
    with pytest.raises(DataError, match="labels are not known"):
        TASK.prepare([example(0, "ab", "lake")], load_tokenizer(tiny_backbone_folder), keep_examples=True)
    with pytest.raises(SettingError, match="choose task: classification"):
        TASK.batch(None, None, [])
