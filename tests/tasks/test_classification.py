import json
import math
from types import SimpleNamespace

import pytest
import torch

from fedtailor.errors import DataError, SettingError
from fedtailor.records import Example, Numeral
from fedtailor.tasks import Classification, collate

TASK = Classification(labels=("bad", "fair", "good"))


def texts(*pairs):
    return [Example(id=f"t-{n}", fields={"text": text, "label": label}) for n, (text, label) in enumerate(pairs)]


def test_labels_are_names_or_numbers(tokenizers):
    shard = TASK.prepare(texts(("a", "good"), ("b", 0), ("c", 1.0)), tokenizers["bytes"], keep_examples=True)
    assert shard.labels_N.tolist() == [2, 0, 1]
    assert not shard.target_T.any()


@pytest.mark.parametrize("label", [3, -1, "great", None, 1.5, True])
def test_label_out_of_range_names_the_example_and_the_range(tokenizers, label):
    with pytest.raises(DataError, match=r"t-1 has the label .* 3 labels, numbered 0 to 2: bad, fair, good"):
        TASK.prepare(texts(("a", 0), ("b", label)), tokenizers["bytes"], keep_examples=False)


def test_long_text_loses_its_end_and_an_empty_one_is_dropped(tokenizers):
    tokenizer = tokenizers["characters"]
    shard = Classification(labels=("x", "y"), max_tokens=4).prepare(texts(("abcdef", 0), (" ", 1)), tokenizer, keep_examples=True)
    assert tokenizer.decode(shard.tokens_T) == "abcd"
    assert [name for name, _ in shard.dropped] == ["t-1"]
    assert [e.id for e in shard.examples] == ["t-0"]


def test_marks_of_the_tokenizer_are_there(tokenizers):
    tokenizer = tokenizers["bytes-with-marks"]
    assert tokenizer.decode(TASK.prepare(texts(("ab", 0)), tokenizer, keep_examples=False).tokens_T) == "<s>ab</s>"


def test_labels_come_from_the_data_in_the_order_of_numbers_or_names(tmp_path):
    named, numbered = texts(("a", "yes"), ("b", "no")), texts(("a", 10), ("b", 9), ("c", 2))
    assert Classification().resolve(named, tmp_path).labels == ("no", "yes")
    assert Classification().labels_of(numbered) == ("2", "9", "10")


def test_numbered_labels_with_gaps_are_taken_by_name(tokenizers, tmp_path):
    numbered = texts(("a", 10), ("b", 9), ("c", 2))
    shard = Classification().resolve(numbered, tmp_path).prepare(numbered, tokenizers["bytes"], keep_examples=False)
    assert shard.labels_N.tolist() == [2, 1, 0]
    with pytest.raises(DataError, match="label 1;"):
        Classification(labels=("2", "9", "10")).prepare(texts(("a", 1)), tokenizers["bytes"], keep_examples=False)


@pytest.mark.parametrize(("name", "content"), [("labels.json", json.dumps(["bad", "good"])), ("labels.txt", "bad\ngood\n")])
def test_labels_come_from_a_file(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert Classification(labels=name).resolve([], tmp_path).labels == ("bad", "good")


@pytest.mark.parametrize(
    ("name", "content"), [("labels.json", "[3, 1.0]"), ("labels.json", '["3", "1"]'), ("labels.txt", "3\n1\n")]
)
def test_numbers_of_a_file_of_labels_are_names(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert Classification(labels=name).resolve([], tmp_path).labels == ("3", "1")


@pytest.mark.parametrize(
    "content", ["{", '{"a": 1}', '["one"]', '["a", "a"]', "[true, false]", "[1, 1.0]", "[[1], 2]", "[null, 1]", None]
)
def test_bad_file_of_labels_is_reported(tmp_path, content):
    if content is not None:
        (tmp_path / "labels.json").write_text(content)
    with pytest.raises(SettingError, match=r"labels\.json"):
        Classification(labels="labels.json").resolve([], tmp_path)


def test_one_label_or_a_missing_one_is_reported(tmp_path):
    with pytest.raises(DataError, match="1 distinct label"):
        Classification().resolve(texts(("a", "x"), ("b", "x")), tmp_path)
    with pytest.raises(DataError, match="t-1 has the label nan"):
        Classification().resolve(texts(("a", "x"), ("b", math.nan)), tmp_path)


def test_loss_is_a_sum_over_texts(tokenizers):
    # scores 0, 0, ln 2: the classes have 1/4, 1/4, 1/2; -ln 1/2 - ln 1/4 = 3 ln 2
    shard = TASK.prepare(texts(("a", "good"), ("b", "bad")), tokenizers["bytes"], keep_examples=False)
    batch = collate(shard, [0, 1], 0, torch.device("cpu"))
    model = lambda **_: SimpleNamespace(logits=torch.tensor([[0.0, 0.0, math.log(2)]] * 2))  # noqa: E731
    loss, count = TASK.loss(model, batch, None)
    assert (loss.item(), count) == (pytest.approx(3 * math.log(2)), 2)


@pytest.mark.parametrize(("name", "value"), [("max_tokens", 1), ("labels", ("one",)), ("labels", ("a", "a")), ("labels", 3)])
def test_bad_settings_are_refused_by_name(name, value):
    with pytest.raises(SettingError, match=f"^{name} "):
        Classification(**{name: value})


def test_digits_that_are_no_numbers_are_names(tokenizers):
    odd = texts(("a", "²"), ("b", "1"), ("c", "--1"))
    assert Classification().labels_of(odd) == ("--1", "1", "²")
    assert Classification().labels_of(texts(("a", "-1"), ("b", "10"), ("c", "9"))) == ("-1", "9", "10")
    shard = Classification(labels=("²", "1")).prepare(odd[:2], tokenizers["bytes"], keep_examples=False)
    assert shard.labels_N.tolist() == [0, 1]


def test_label_of_the_test_set_alone_is_reported_with_its_remedy(tokenizers, tmp_path):
    task = Classification().resolve(texts(("a", "yes"), ("b", "no")), tmp_path)
    odd = [Example(id="heldout-7", fields={"text": "c", "label": "maybe"})]
    with pytest.raises(DataError, match=r"heldout-7 has the label 'maybe'.*name all labels in task\.labels"):
        task.prepare(odd, tokenizers["bytes"], keep_examples=True)


def test_pooling_is_one_of_two():
    assert Classification(pooling="mean").pooling == "mean"
    for wrong in ("max", None, ["mean"]):
        with pytest.raises(SettingError, match="pooling is model or mean, got"):
            Classification(pooling=wrong)


@pytest.mark.parametrize("label", ["1", "01", "1.0", " good", "Good"])
def test_a_text_that_is_no_listed_name_is_never_a_place_in_the_list(tokenizers, label):
    with pytest.raises(
        DataError, match=rf"1 of 2 labels are not known: example t-1 has the label {label!r}; the task knows 3 labels"
    ):
        TASK.prepare(texts(("a", "good"), ("b", label)), tokenizers["bytes"], keep_examples=False)


def test_a_whole_number_of_a_typed_file_is_a_place_where_no_name_is_a_number(tokenizers):
    numbered = texts(("a", Numeral("2")), ("b", Numeral("0")))
    assert TASK.prepare(numbered, tokenizers["bytes"], keep_examples=False).labels_N.tolist() == [2, 0]
    with pytest.raises(DataError, match="2 of 2 labels are not known"):
        Classification(labels=("01", "02", "X9")).prepare(numbered, tokenizers["bytes"], keep_examples=False)


def test_labels_that_differ_by_white_space_alone_are_refused(tmp_path):
    with pytest.raises(DataError, match="'good' and 'good ' look alike"):
        Classification().resolve(texts(("a", "good"), ("b", "good ")), tmp_path)


def test_all_unknown_labels_come_in_one_message(tokenizers):
    with pytest.raises(DataError, match=r"7 of 8 labels are not known: example t-1 .*example t-5 has the label 'x5', \.\.\.; "):
        TASK.prepare(texts(("a", "good"), *((f"b{n}", f"x{n}") for n in range(1, 8))), tokenizers["bytes"], keep_examples=False)


def cut(tokenizer, text="abcdef", **settings):
    shard = Classification(labels=("x", "y"), **settings).prepare(texts((text, 0)), tokenizer, keep_examples=False)
    return tokenizer.decode(shard.tokens_T), shard.cut_N.tolist(), [reason for _, reason in shard.dropped]


def test_what_is_cut_is_counted_and_which_end_is_a_setting(tokenizers):
    assert cut(tokenizers["characters"], max_tokens=4) == ("abcd", [2], [])
    assert cut(tokenizers["characters"], max_tokens=4, truncate="start") == ("cdef", [2], [])
    assert cut(tokenizers["characters"], max_tokens=6) == ("abcdef", [0], [])
    (reason,) = cut(tokenizers["characters"], max_tokens=4, truncate="drop")[2]
    assert "6 tokens does not fit into max_tokens = 4" in reason
    with pytest.raises(SettingError, match="truncate is start, end or drop"):
        Classification(truncate="middle")


def test_marks_of_the_tokenizer_are_kept_where_a_text_is_cut(tokenizers):
    tokenizer = tokenizers["bytes-with-marks"]
    old = tokenizer(["The Eagle is cheap"], truncation=True, max_length=5)["input_ids"][0]
    found = Classification(labels=("x", "y"), max_tokens=5)
    assert found.prepare(texts(("The Eagle is cheap", 0)), tokenizer, keep_examples=False).tokens_T.tolist() == old
    assert found.opening("The Eagle is cheap", tokenizer) == old
    (reason,) = cut(tokenizer, max_tokens=2)[2]
    assert "leaves no room beside the tokenizer's marks" in reason
