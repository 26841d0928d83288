"""Which public examples a round is about, and who may speak of them."""

from types import SimpleNamespace

import pytest
import torch
from conftest import train_tokenizer

from fedtailor.errors import SettingError
from fedtailor.learning.distil import NO_LABEL
from fedtailor.protocols.distillation.public_set import PublicSet, check_same_words, tokenize_public
from fedtailor.records import Example
from fedtailor.tasks import Classification, Generation, counted_targets


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer()


def public(tokenizer, share=1.0, count=10):
    rows = [Example(id=str(n), fields={"input": "a", "target": "b" * (n + 1)}) for n in range(count)]
    return PublicSet(shard=Generation().prepare(rows, tokenizer, keep_examples=False), seed=3, share=share)


def test_slices_are_drawn_by_seed_and_round(tokenizer):
    one, other = public(tokenizer, 0.25), public(tokenizer, 0.25)
    assert one.rows(1) == other.rows(1) == sorted(one.rows(1))
    assert len(one.rows(1)) == 3  # a quarter of 10, rounded up
    assert len({tuple(one.rows(round)) for round in range(1, 9)}) > 4
    assert public(tokenizer).rows(5) == list(range(10))


def test_places_of_a_slice_and_their_bound(tokenizer):
    part = public(tokenizer, 0.3)
    assert part.places(2) == int(counted_targets(part.slice(2)).sum())
    assert all(part.places(round) <= part.most_places for round in range(1, 30))
    assert part.most_places == sum(sorted(part.counts_N.tolist())[-3:])


def test_labels_may_be_absent(tokenizer):
    task = Classification(labels=("x", "y"))
    rows = [
        Example(id="0", fields={"text": "one", "label": "y"}),
        Example(id="1", fields={"text": "two"}),
        Example(id="2", fields={"text": " "}),
    ]
    shard = tokenize_public(rows, task, tokenizer)
    assert shard.labels_N.tolist() == [1, NO_LABEL]
    assert PublicSet(shard=shard, seed=0, share=1.0).labelled == 1
    assert shard.labels_N.dtype == torch.int64


def side(tokenizer, task):
    return SimpleNamespace(processor=tokenizer, task=task)


def test_labels_must_be_the_same(tokenizer):
    ours, theirs = side(tokenizer, Classification(labels=("x", "y"))), side(tokenizer, Classification(labels=("x", "z", "w")))
    with pytest.raises(SettingError, match=r"server knows 2 labels \(x, y.*client 'b' 3 \(x, z, w.*task\.labels"):
        check_same_words(ours, theirs, "b")
    check_same_words(ours, side(train_tokenizer(280), Classification(labels=("x", "y"))), "b")  # the tokenizer may differ


def test_words_must_be_the_same(tokenizer):
    with pytest.raises(
        SettingError, match=r"tokenizer has 300 tokens, that of client 'b' 280, of which 280 are the same.*averaging"
    ):
        check_same_words(side(tokenizer, Generation()), side(train_tokenizer(280), Generation()), "b")
    check_same_words(side(tokenizer, Generation()), side(train_tokenizer(), Generation()), "b")
