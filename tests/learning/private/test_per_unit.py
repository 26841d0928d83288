"""Sums of clipped gradients, held against one example at a time by plain autograd."""

import pytest
import torch
from tuning_shapes import EVERY, FOLDERS, disturb, load

from fedtailor.learning.private.per_unit import ClippedSum, PerUnit

ONE_PASS = ("lora", "fed-sb", "adapter", "prefix", "prefix-deep", "prefix-vectors", "prefix-refit", "prompt")
ONE_BY_ONE = ("full", "ia3", "dora")
ROWS = torch.tensor([[5, 17, 130, 240, 9, 77], [33, 2, 2, 80, 121, 6], [9, 9, 8, 7, 200, 201], [5, 18, 19, 20, 21, 22]])
LENGTHS = (6, 4, 5, 6)
COUNTED = torch.tensor([5, 3, 4, 5])
UNITS = ([0], [1, 3], [2])


def place(name, shape, request):
    """Return a tuned model whose trained weights were moved, its trained weights, and its loss on rows."""
    if name.startswith("prompt") and shape == "llama-classifier":
        pytest.skip("no such pair")
    model = load(request.getfixturevalue(FOLDERS[shape]))
    tuning = EVERY[name]
    tuned = tuning.attach(model, seed=0)
    params = dict(tuning.parameters(tuned))
    disturb(tuning, tuned)
    tuned.train()
    for module in tuned.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0

    def loss_of(rows):
        ids = ROWS[rows]
        mask = (torch.arange(6)[None] < torch.tensor([LENGTHS[row] for row in rows])[:, None]).long()
        found = tuned(input_ids=ids, attention_mask=mask).logits.float()
        if shape == "bert":
            return torch.nn.functional.cross_entropy(found, torch.tensor(rows) % 3, reduction="sum"), 0, len(rows)
        found = found[:, -6:]
        target = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
        loss = torch.nn.functional.cross_entropy(found[:, :-1].reshape(-1, found.shape[-1]), target.reshape(-1), reduction="sum")
        return loss, 0, int(mask[:, 1:].sum())

    counted = torch.ones(4, dtype=torch.int64) if shape == "bert" else COUNTED
    return tuned, params, loss_of, counted


def by_hand(params, loss_of, units, clip):
    """Return the sum of clipped gradients of mean losses, one unit at a time, in the plainest way."""
    total = {name: torch.zeros_like(param) for name, param in params.items()}
    for unit in units:
        parts = [loss_of([row]) for row in unit]
        loss = sum(part for part, _, _ in parts) / sum(count for _, _, count in parts)
        grads = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
        grads = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, params.values(), strict=True)]
        length = torch.cat([grad.flatten() for grad in grads]).double().norm().item()
        for name, grad in zip(params, grads, strict=True):
            total[name] += grad * min(1.0, clip / length)
    return total


@pytest.mark.parametrize("shape", FOLDERS)
@pytest.mark.parametrize("name", [*ONE_PASS, *ONE_BY_ONE])
def test_sums_are_those_of_one_unit_at_a_time(name, shape, request):
    if (name, shape) == ("prefix-refit", "bert"):
        pytest.skip("as with the network")
    tuned, params, loss_of, counted = place(name, shape, request)
    for clip in (1e-3, 1e3):  # all are clipped, none is
        gradients = PerUnit.of(tuned, params, loss_of=loss_of, counted_N=counted, clip=clip, batch_size=3)
        found = ClippedSum()
        gradients.add(UNITS, found)
        assert (gradients.sources is not None) == (name in ONE_PASS)
        expected = by_hand(params, loss_of, UNITS, clip)
        scale = max(float(value.abs().max()) for value in expected.values())
        for param, value in expected.items():
            got = found.total.get(param, torch.zeros_like(value))
            torch.testing.assert_close(got, value, rtol=1e-4, atol=1e-5 * scale)
        assert found.clipped == (3 if clip < 1 else 0)
        assert all(param.grad is None for param in params.values())


def test_a_unit_larger_than_a_pass_is_one_unit(request):
    tuned, params, loss_of, counted = place("lora", "llama", request)
    found = ClippedSum()
    PerUnit.of(tuned, params, loss_of=loss_of, counted_N=counted, clip=0.05, batch_size=2).add([[0, 1, 2, 3]], found)
    expected = by_hand(params, loss_of, [[0, 1, 2, 3]], 0.05)
    for name, value in expected.items():
        torch.testing.assert_close(found.total[name], value, rtol=1e-4, atol=1e-7)
    assert torch.cat([value.flatten() for value in found.total.values()]).norm().item() == pytest.approx(0.05, rel=1e-5)


def test_layers_that_are_used_in_another_way_too_are_found_out(request):
    tuned, params, loss_of, counted = place("lora", "llama", request)
    weight = next(iter(params.values()))

    def more(rows):
        loss, tokens, count = loss_of(rows)
        return loss + weight.square().sum(), tokens, count

    gradients = PerUnit.of(tuned, params, loss_of=more, counted_N=counted, clip=1.0, batch_size=4)
    gradients.add(UNITS, ClippedSum())
    assert gradients.sources is None


@pytest.mark.slow
@pytest.mark.parametrize("clip", [1e-3, 1e3])
def test_opacus_finds_the_same_gradients_of_single_examples(clip, request):
    opacus = pytest.importorskip("opacus", reason="the second witness is not installed")
    tuned, params, loss_of, counted = place("lora", "llama", request)
    units = [[0], [1], [2], [3]]
    found = ClippedSum()
    PerUnit.of(tuned, params, loss_of=loss_of, counted_N=counted, clip=clip, batch_size=4).add(units, found)
    wrapped = opacus.GradSampleModule(tuned, loss_reduction="sum", strict=False)
    try:
        loss_of([0, 1, 2, 3])[0].backward()
        samples = {name: param.grad_sample / counted.view(-1, *(1,) * param.dim()) for name, param in params.items()}
    finally:
        wrapped.remove_hooks()
    lengths = torch.stack([value.flatten(1).square().sum(1) for value in samples.values()]).sum(0).sqrt()
    factors = (clip / lengths).clamp(max=1.0)
    for name, value in samples.items():
        wanted = torch.tensordot(factors, value, dims=1)
        torch.testing.assert_close(found.total[name], wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
