"""Activations that are computed again: the same losses and weights, to the bit, and what cannot do it is refused."""

import pytest
from jobs import assert_same_adapter

from fedtailor.assembly import assemble
from fedtailor.errors import SettingError
from fedtailor.job import Job
from fedtailor.running import run


@pytest.mark.parametrize("tuning", [{"kind": "lora", "rank": 2, "dropout": 0.3}, {"kind": "adapter", "width": 4}])
def test_a_run_with_recomputed_activations_gives_the_same_bits(make_job, rows, tmp_path, tuning):
    job = make_job(stop__rounds=1).replace("tuning", tuning)
    plain = run(job, data=rows, out=tmp_path / "plain")
    again = run(job.replace("protocol.local.checkpointing", True), data=rows, out=tmp_path / "again")
    assert plain.summary["metrics"] == again.summary["metrics"]
    if tuning["kind"] == "lora":
        assert_same_adapter(plain.folder, again.folder)


def test_blocks_recompute_in_training_alone_and_are_left_as_they_were(make_job, rows):
    from fedtailor.learning.recompute import recomputing

    parts = assemble(make_job(), given=rows)
    model = parts.worker.model
    blocks = [module for module in model.modules() if hasattr(module, "gradient_checkpointing")]
    before = [dict(vars(block)) for block in blocks]
    calls = []
    for module in model.modules():
        if type(module).__name__ == "LlamaMLP":
            module.register_forward_pre_hook(lambda *_: calls.append(1))
    shard = next(iter(parts.clients.values())).train
    with recomputing(model):
        model.train()
        loss, _ = parts.worker.loss(parts.worker.batch(shard, [0]))
        assert len(calls) == 2  # one for each layer
        loss.backward()
        assert len(calls) == 4  # and again in the backward pass
    model.eval()
    assert [{key: vars(block).get(key) for key in old} for block, old in zip(blocks, before, strict=True)] == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tuning": {"kind": "prefix", "length": 2, "hidden": 4}}, "does not go with tuning: prefix"),
        ({"protocol": {"kind": "split", "cut": 1, "local": {"checkpointing": True}}}, "does not go with protocol: split"),
    ],
)
def test_what_cannot_recompute_is_refused(make_job, rows, changes, words):
    settings = make_job().to_dict() | changes
    settings["protocol"]["local"]["checkpointing"] = True
    with pytest.raises(SettingError, match=words):
        assemble(Job.from_dict(settings), given=rows)
