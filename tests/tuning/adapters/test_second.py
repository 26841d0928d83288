"""A second adapter beside the first."""

import pytest
import torch
from tuning_shapes import FOLDERS, disturb, load, logits

from fedtailor.errors import SettingError
from fedtailor.tuning import Full, Lora, PeftMethod, as_saved
from fedtailor.tuning.adapters.second import activate, active_adapters, adapter_parameters, add_adapter, further_adapters

TUNING = Lora(rank=2, alpha=4)


@pytest.fixture(params=FOLDERS)
def folder(request):
    return request.getfixturevalue(FOLDERS[request.param])


@pytest.fixture
def model(folder):
    return TUNING.attach(load(folder), 0)


def add(model, name="own", *, rank=3, alpha=6.0, trained=False, seed=0):
    return add_adapter(model, name, rank=rank, alpha=alpha, trained=trained, seed=seed)


def copies(tensors):
    return {name: value.detach().clone() for name, value in tensors.items()}


def test_it_changes_nothing_at_first_and_has_names_of_its_own(model):
    before, first = logits(model), copies(TUNING.parameters(model))
    own = add(model)
    assert torch.equal(logits(model), before)
    wanted = [name.replace("lora_", "own_") for name in first if ".lora_" in name]
    assert list(own) == wanted == sorted(wanted)
    assert list(adapter_parameters(model, "own")) == wanted
    assert {p.shape[0] for name, p in own.items() if "own_A" in name} == {3}
    assert {p.shape[1] for name, p in own.items() if "own_B" in name} == {3}
    assert all(p.abs().max() == 0 for name, p in own.items() if "own_B" in name)
    assert all(p.abs().max() > 0 for name, p in own.items() if "own_A" in name)
    now = TUNING.parameters(model)
    assert list(now) == list(first)
    assert all(torch.equal(now[name], first[name]) for name in first)
    assert (active_adapters(model), further_adapters(model)) == (("default", "own"), ("own",))
    assert list(adapter_parameters(model, "default")) == [name for name in first if ".lora_" in name]


@pytest.mark.parametrize("trained", [True, False])
def test_gradients_are_required_where_they_are_wanted(model, trained):
    before = {id(p) for p in model.parameters() if p.requires_grad}
    own = {id(p) for p in add(model, trained=trained).values()}
    wanted = before | (own if trained else set())
    assert {id(p) for p in model.parameters() if p.requires_grad} == wanted
    for names in (("own",), ("default",), ("default", "own")):
        activate(model, names)
        assert active_adapters(model) == names
        assert {id(p) for p in model.parameters() if p.requires_grad} == wanted
    assert not model.training


def test_both_products_count_each_with_its_own_scale(model):
    """One adapter of the joined factors, each side's product scaled by its own alpha / rank, gives the same output."""
    disturb(TUNING, model)
    add(model, rank=3, alpha=1.5)  # scale 1 / 2; the first has 4 / 2
    draw = torch.Generator().manual_seed(1)
    for parameter in adapter_parameters(model, "own").values():
        parameter.data.copy_(torch.randn(parameter.shape, generator=draw) * 0.3)
    both = logits(model)
    joined = add(model, "joined", rank=5, alpha=5.0)
    for name, own in adapter_parameters(model, "own").items():
        first = adapter_parameters(model, "default")[name.replace("own_", "lora_")].data
        stack = torch.cat([first, own.data]) if "_A." in name else torch.cat([2 * first, 0.5 * own.data], 1)
        joined[name.replace("own_", "joined_")].data.copy_(stack)
    activate(model, ("joined",))
    torch.testing.assert_close(logits(model), both, atol=1e-5, rtol=1e-5)
    activate(model, ("default",))
    alone = logits(model)
    assert not torch.allclose(alone, both, atol=1e-4)


def test_a_frozen_one_gets_no_gradient_and_both_trained_ones_do(model):
    frozen, trained = add(model, "frozen"), add(model, "own", trained=True)
    for parameter in (*frozen.values(), *trained.values()):
        parameter.data.add_(0.1)
    disturb(TUNING, model)
    logits(model).square().sum().backward()
    assert all(p.grad is None for p in frozen.values())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained.values())
    assert all(p.grad is not None for p in TUNING.parameters(model).values())


def test_its_dropout_follows_the_model(folder):
    model = TUNING.attach(load(folder), 0)
    own = add_adapter(model, "own", rank=2, alpha=2, trained=True, seed=0, dropout=0.9)
    for parameter in own.values():
        parameter.data.add_(0.3)
    assert torch.equal(logits(model), logits(model))  # the model came in evaluation mode
    model.train()
    assert not torch.equal(logits(model), logits(model))


def test_several_are_saved_as_one_plain_adapter_of_the_same_output(model, folder, tmp_path):
    """Rank 2 at scale 2 and rank 3 at scale 1/2, of which only two columns are filled: one adapter of rank 4 at scale 1."""
    disturb(TUNING, model)
    own = add(model, rank=3, alpha=1.5)
    draw = torch.Generator().manual_seed(1)
    for parameter in own.values():
        parameter.data.copy_(torch.randn(parameter.shape, generator=draw) * 0.3)
    for name, parameter in own.items():
        if "own_B" in name:
            parameter.data[:, 2:] = 0
    add(model, "empty", rank=5)  # B is zero: nothing of it is written
    TUNING.save(model, tmp_path / "a")
    saved = as_saved(TUNING, tmp_path / "a")
    assert (saved.rank, saved.alpha) == (4, 4)
    alone = saved.attach(load(folder), 1)
    saved.restore(alone, tmp_path / "a")
    torch.testing.assert_close(logits(alone), logits(model), atol=1e-5, rtol=1e-5)
    activate(model, ("own",))
    TUNING.save(model, tmp_path / "own")
    assert as_saved(TUNING, tmp_path / "own") == Lora(rank=3, alpha=1.5)
    own_only = Lora(rank=3, alpha=1.5).attach(load(folder), 1)
    as_saved(TUNING, tmp_path / "own").restore(own_only, tmp_path / "own")
    torch.testing.assert_close(logits(own_only), logits(model), atol=1e-5, rtol=1e-5)


def test_the_draw_depends_on_seed_and_name_alone(folder):
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    draws = []
    for seed, name in ((0, "own"), (0, "own"), (1, "own"), (0, "other")):
        model = TUNING.attach(load(folder), seed)
        draws.append(next(iter(copies(add(model, name, seed=seed)).values())))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[3])


def test_weights_are_float32_on_a_half_precision_backbone(folder):
    model = TUNING.attach(load(folder, precision="bfloat16"), 0)
    assert {p.dtype for p in add(model).values()} == {torch.float32}


def test_the_first_is_saved_alone_and_as_before(model, tmp_path):
    from safetensors.torch import load_file

    disturb(TUNING, model)
    TUNING.save(model, tmp_path / "before")
    add(model, trained=True)
    TUNING.save(model, tmp_path / "after")
    left, right = (load_file(tmp_path / side / "adapter_model.safetensors") for side in ("before", "after"))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert [path.name for path in (tmp_path / "after").iterdir() if path.is_dir()] == []


def test_turned_off_all_of_them_are_off(model):
    bare = logits(model)
    disturb(TUNING, model)
    for parameter in add(model).values():
        parameter.data.add_(0.1)
    if any("classifier" in name for name in TUNING.parameters(model)):
        return  # its head was disturbed too
    with model.disable_adapter():
        assert torch.equal(logits(model), bare)
    assert not torch.equal(logits(model), bare)
    assert active_adapters(model) == ("default", "own")


def test_names_and_tunings_that_do_not_fit_are_refused(model, tiny_backbone_folder):
    add(model)
    for name in ("own", "default", "lora", "Own", "a.b", ""):
        with pytest.raises(SettingError, match="name of its own"):
            add(model, name)
    with pytest.raises(SettingError, match="beside plain LoRA"):
        add(Full().attach(load(tiny_backbone_folder), 0))
    dora = PeftMethod(type="LORA", arguments={"r": 2, "use_dora": True})
    with pytest.raises(SettingError, match="beside plain LoRA"):
        add(dora.attach(load(tiny_backbone_folder), 0))
