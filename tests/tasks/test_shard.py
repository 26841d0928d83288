"""Flat token arrays and their batches."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedtailor.tasks.shard import TokenShard, collate, evaluation_batches, training_batches

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=120)


@given(LENGTHS, st.integers(1, 9), st.integers(1, 4))
def test_every_row_comes_once_in_an_epoch(lengths, batch_size, window):
    batches = list(training_batches(lengths, batch_size, np.random.default_rng(0), window))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    assert sorted(row for batch in evaluation_batches(lengths, batch_size) for row in batch) == list(range(len(lengths)))


def test_batches_hold_like_lengths_in_shuffled_order():
    lengths = np.random.default_rng(1).integers(5, 100, 512).tolist()
    batches = list(training_batches(lengths, 8, np.random.default_rng(2)))
    padded = sum(max(lengths[r] for r in b) * len(b) for b in batches)
    assert padded / sum(lengths) < 1.05
    firsts = [max(lengths[r] for r in b) for b in batches]
    assert firsts != sorted(firsts)
    assert batches != list(training_batches(lengths, 8, np.random.default_rng(3)))


def test_padding_is_masked_and_never_counted():
    shard = TokenShard(
        tokens_T=torch.tensor([1, 2, 3, 4, 5], dtype=torch.int32),
        target_T=torch.tensor([False, True, False, True, True]),
        starts=torch.tensor([0, 2, 5]),
    )
    batch = collate(shard, [0, 1], pad_id=9, device=torch.device("cpu"))
    assert batch.input_ids_BL.tolist() == [[1, 2, 9], [3, 4, 5]]
    assert batch.attention_mask_BL.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.target_BL.tolist() == [[False, True, False], [False, True, True]]
    assert batch.tokens == 5
    assert collate(shard, [1], pad_id=9, device=torch.device("cpu")).attention_mask_BL is None


def test_a_batch_takes_its_rows_from_anywhere_in_their_order():
    # rows of 2, 3 and 1 tokens; asked for the last and the first
    shard = TokenShard(
        tokens_T=torch.tensor([1, 2, 3, 4, 5, 6], dtype=torch.int32),
        target_T=torch.tensor([True, False, True, True, True, True]),
        starts=torch.tensor([0, 2, 5, 6]),
        labels_N=torch.tensor([7, 8, 9]),
    )
    batch = collate(shard, [2, 0], pad_id=0, device=torch.device("cpu"))
    assert batch.input_ids_BL.tolist() == [[6, 0], [1, 2]]
    assert batch.target_BL.tolist() == [[True, False], [True, False]]
    assert batch.attention_mask_BL.tolist() == [[1, 0], [1, 1]]
    assert batch.labels_B.tolist() == [9, 7]
    assert batch.input_ids_BL.dtype == torch.int64
    assert batch.attention_mask_BL.dtype == torch.int64
