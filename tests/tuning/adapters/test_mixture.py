"""Two adapters by their shares."""

import pytest
import torch
from tuning_shapes import FOLDERS, IDS, MASK, disturb, load, logits

from fedtailor.tuning import Lora
from fedtailor.tuning.adapters.mixture import draw_adapter, mixed, save_joined, settings_of
from fedtailor.tuning.adapters.over_peft import attach_saved
from fedtailor.tuning.adapters.second import activate, active_adapters, adapter_parameters, add_adapter

TUNING = Lora(rank=2, alpha=4)  # counts 2
SCALE = 0.5  # of the second: alpha 1.5 over rank 3


@pytest.fixture(params=FOLDERS)
def folder(request):
    return request.getfixturevalue(FOLDERS[request.param])


@pytest.fixture
def model(folder):
    tuned = TUNING.attach(load(folder), 0)
    disturb(TUNING, tuned)
    draw = torch.Generator().manual_seed(1)
    for parameter in add_adapter(tuned, "own", rank=3, alpha=1.5, trained=False, seed=0).values():
        parameter.data.copy_(torch.randn(parameter.shape, generator=draw) * 0.3)
    activate(tuned, ["default"])
    return tuned


def module_of(model):
    """Return the first module with both adapters, and its own name."""
    return next((name, m) for name, m in model.named_modules() if hasattr(m, "lora_A") and "own" in m.lora_A)


def by_hand(layer, x, share):
    """W x + (1 - s) 2 B1 A1 x + s 0.5 B2 A2 x."""
    first = layer.lora_B["default"](layer.lora_A["default"](x)) * 2
    second = layer.lora_B["own"](layer.lora_A["own"](x)) * SCALE
    return layer.base_layer(x) + (1 - share) * first + share * second


def test_a_module_adds_each_by_its_share(model):
    name, layer = module_of(model)
    x = torch.randn(2, 3, layer.in_features, generator=torch.Generator().manual_seed(2))
    share = torch.tensor([0.25, 1.0])[:, None, None]  # one for each text
    wanted = by_hand(layer, x, share)
    seen = []

    def of(module, inputs):
        seen.append(module)
        return share

    with mixed(model, "own", of):
        torch.testing.assert_close(layer(x), wanted)
    assert seen == [name]
    torch.testing.assert_close(layer(x), by_hand(layer, x, 0) - 0 * wanted)  # the first alone again
    assert active_adapters(model) == ("default",)


def test_the_ends_are_either_adapter_alone(model):
    alone = {}
    for name in ("default", "own"):
        activate(model, [name])
        alone[name] = logits(model)
    activate(model, ["default"])
    for share, name in ((0.0, "default"), (1.0, "own")):
        with mixed(model, "own", lambda module, x, share=share: share):
            torch.testing.assert_close(logits(model), alone[name], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(alone["default"], alone["own"], atol=1e-3)


def test_a_block_that_fails_leaves_nothing_behind(model):
    before = logits(model)
    with pytest.raises(ZeroDivisionError), mixed(model, "own", lambda module, x: 1 / 0):
        logits(model)
    assert torch.equal(logits(model), before)
    assert active_adapters(model) == ("default",)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_joined_it_is_one_plain_adapter(model, folder, tmp_path, share):
    with mixed(model, "own", lambda module, x: share):
        wanted = logits(model)
    save_joined(model, tmp_path / "a", second="own", share=share)
    found = attach_saved(load(folder), tmp_path / "a").eval()
    assert settings_of(found) == (5, 5.0)
    torch.testing.assert_close(logits(found), wanted, atol=1e-5, rtol=1e-5)


def test_the_draw_is_that_of_the_seed_alone_and_changes_nothing_yet(model):
    activate(model, ["default"])
    before = logits(model)
    draws = []
    for seed in (0, 0, 1):
        draw_adapter(model, "own", seed=seed)
        draws.append({name: value.detach().clone() for name, value in adapter_parameters(model, "own").items()})
    assert all(torch.equal(draws[0][name], draws[1][name]) for name in draws[0])
    factors_a = [name for name in draws[0] if "own_A" in name]
    assert not torch.equal(draws[0][factors_a[0]], draws[2][factors_a[0]])
    for name in factors_a:  # as PEFT draws them: uniform within 1 / sqrt(inputs)
        bound = draws[0][name].shape[1] ** -0.5
        assert 0.5 * bound < draws[0][name].abs().max() <= bound
    with mixed(model, "own", lambda module, x: 0.0):
        torch.testing.assert_close(logits(model), before)
    assert IDS.shape == MASK.shape
