"""What a step costs, counted on shapes, against the same step computed."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fedtailor.assembly import assemble
from fedtailor.errors import BackboneError
from fedtailor.planning.step import batches_size, count_step, longest_rows


@pytest.fixture
def parts(make_job, rows):
    return assemble(make_job(tuning__dropout=0.0), given=rows)


@pytest.fixture
def shard(parts):
    return parts.clients["client-00"].train


def computed(worker, shard, rows):
    """Return the operations of a real step, and the bytes that it keeps for the backward pass."""
    own = {tensor.untyped_storage()._cdata for tensor in (*worker.model.parameters(), *worker.model.buffers())}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in own and tensor.is_floating_point():
            kept[storage._cdata] = (storage.nbytes(), storage)
        return tensor

    worker.model.train()
    for param in worker.model.parameters():
        param.requires_grad_(any(param is trained for trained in worker.params.values()))
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss, _ = worker.loss(worker.batch(shard, rows))
        loss.backward()
    return counter.get_total_flops(), sum(size for size, _ in kept.values())


def test_a_step_on_shapes_is_the_step_computed(parts, shard):
    count = count_step(parts.worker, shard, batch_size=4, checkpointing=False)
    flops, kept = computed(parts.worker, shard, longest_rows(shard, 4))
    assert count.train.operations.total == flops
    assert count.train.saved_bytes == pytest.approx(
        kept, rel=0.02
    )  # numbers that are no weights, such as angles of positions, are real
    assert count.train.peak_bytes > count.train.saved_bytes
    assert 0 < count.evaluate.peak_bytes < count.train.peak_bytes


def test_a_count_scales_to_other_batches(parts, shard):
    count = count_step(parts.worker, shard, batch_size=4, checkpointing=False)
    rows = longest_rows(shard, len(shard))[-3:]  # fewer and shorter ones
    flops, _ = computed(parts.worker, shard, rows)
    assert count.train.flops(batches_size(shard, [rows])) == pytest.approx(flops, rel=0.05)


def test_recomputed_activations_are_not_kept_and_cost_operations(parts, shard):
    plain, again = (count_step(parts.worker, shard, batch_size=4, checkpointing=wanted) for wanted in (False, True))
    assert again.train.saved_bytes < 0.7 * plain.train.saved_bytes
    assert again.train.operations.total > plain.train.operations.total


def test_weights_and_chance_are_not_touched(parts, shard):
    before, state = parts.worker.tensors(), torch.get_rng_state()
    count_step(parts.worker, shard, batch_size=4, checkpointing=False)
    assert all(torch.equal(before[name], now) for name, now in parts.worker.tensors().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(param.grad is None for param in parts.worker.model.parameters())


def test_a_model_that_looks_at_its_numbers_cannot_be_counted(parts, shard):
    def look(module, inputs, output):
        if float(output[0].sum()) > 0:
            return output
        return output

    parts.worker.model.get_base_model().model.layers[0].register_forward_hook(look)
    with pytest.raises(BackboneError, match="cannot be counted from shapes"):
        count_step(parts.worker, shard, batch_size=4, checkpointing=False)
