"""What every tuning promises, on every shape of model."""

import pytest
import torch
from tuning_shapes import EVERY, FOLDERS, IDS, MASK, ROTATIONS, STARTS_ELSEWHERE, disturb, load, logits

from fedtailor.errors import SettingError
from fedtailor.interfaces import Exchanging
from fedtailor.tuning import TUNINGS

UNFIT = {(name, "gpt2") for name in ("loha", "lokr", "hra", "oft")}  # PEFT has these for plain linear layers alone
UNFIT |= {("head", "llama"), ("head", "gpt2")}  # which have none
PAIRS = [(name, shape) for name in EVERY for shape in FOLDERS if (name, shape) not in UNFIT]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request):
    name, shape = request.param
    return name, EVERY[name], request.getfixturevalue(FOLDERS[shape])


def attached(pair, *, seed=0, precision="float32"):
    _, tuning, folder = pair
    return tuning, tuning.attach(load(folder, precision=precision), seed)


def copies(tensors):
    return {name: value.detach().clone() for name, value in tensors.items()}


def assert_same(left, right):
    assert list(left) == list(right)
    for name in left:
        assert torch.equal(left[name], right[name]), name


def test_every_kind_is_here():
    assert {tuning.kind for tuning in EVERY.values()} == set(TUNINGS)


def test_attaching_changes_nothing_where_that_is_promised(pair):
    before = logits(load(pair[2]))
    after = logits(attached(pair)[1])
    if pair[0].startswith(STARTS_ELSEWHERE):
        assert not torch.allclose(after, before)
    elif pair[0] in ROTATIONS:
        torch.testing.assert_close(after, before, atol=1e-5, rtol=0)
    else:
        assert torch.equal(after, before)


def test_names_are_stable_and_sorted_and_only_trained_weights_require_gradients(pair):
    tuning, model = attached(pair)
    parameters = tuning.parameters(model)
    assert list(parameters) == sorted(parameters) == list(tuning.parameters(attached(pair, seed=5)[1]))
    assert not any(".default" in name for name in parameters)
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in parameters.values()}
    assert not model.training


def test_trained_weights_are_float32_and_all_get_gradients_on_a_half_precision_backbone(pair):
    tuning, model = attached(pair, precision="bfloat16")
    disturb(tuning, model)  # at the start some weights see a gradient of zero: the others they are multiplied with are zero
    parameters = tuning.parameters(model)
    assert {p.dtype for p in parameters.values()} == {torch.float32}
    if tuning.kind != "full":
        assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits(model).float().square().sum().backward()
    for name, parameter in parameters.items():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype is torch.float32
        assert torch.isfinite(parameter.grad).all()


def test_the_draw_depends_on_the_seed_alone_and_leaves_the_global_stream(pair):
    backbones = [load(pair[2]) for _ in range(3)]
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    first = copies(pair[1].parameters(pair[1].attach(backbones[0], 0)))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(5)
    second = copies(pair[1].parameters(pair[1].attach(backbones[1], 0)))
    other = copies(pair[1].parameters(pair[1].attach(backbones[2], 9)))
    assert_same(first, second)
    if pair[0] not in (
        "full",
        "head",
        "ia3",
        "ln",
        "vera",
        "oft",
        "fed-sb",
        "fed-sb-random",
        "norms",  # of tests/joining
    ):  # which draw nothing that is trained
        assert any(not torch.equal(first[name], other[name]) for name in first)


def test_saved_and_restored_gives_the_same_logits(pair, tmp_path):
    tuning, model = attached(pair)
    disturb(tuning, model)
    tuning.save(model, tmp_path / "adapter")
    wanted = logits(model)
    _, other = attached(pair, seed=9)
    tuning.restore(other, tmp_path / "adapter")
    assert torch.equal(logits(other), wanted)
    assert_same(tuning.parameters(other), tuning.parameters(model))
    assert (tmp_path / "adapter" / "labels.json").is_file() == ("bert" in pair[2].name)
    assert torch.equal(logits(model), wanted)  # saving left the model as it was


def test_saving_twice_gives_the_same_bytes(pair, tmp_path):
    tuning, model = attached(pair)
    for name in ("a", "b"):
        tuning.save(model, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_damaged_or_missing_folder_is_refused(pair, tmp_path):
    tuning, model = attached(pair)
    with pytest.raises(SettingError):
        tuning.restore(model, tmp_path / "nowhere")
    tuning.save(model, tmp_path / "adapter")
    for path in (tmp_path / "adapter").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(SettingError, match="cannot be read"):
        tuning.restore(model, tmp_path / "adapter")


def test_a_few_steps_lower_the_loss_and_change_nothing_but_what_is_trained(pair):
    tuning, model = attached(pair)
    parameters = tuning.parameters(model)
    frozen = copies({name: p for name, p in model.named_parameters() if not p.requires_grad})
    start, ids, mask = copies(parameters), IDS.clone(), MASK.clone()
    # the three that scale what is there, as their papers say, want larger steps
    engine = torch.optim.AdamW(list(parameters.values()), 0.1 if pair[0] in ("ia3", "vera", "ln") else 0.02, weight_decay=0.0)
    losses = []
    for _ in range(8):
        found = logits(model)
        target = IDS % 3 if found.dim() == 3 else torch.tensor([2, 0])
        loss = torch.nn.functional.cross_entropy(found.flatten(0, -2), target.flatten())
        engine.zero_grad()
        loss.backward()
        engine.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1e-3
    assert any(not torch.equal(start[name], p) for name, p in parameters.items())
    assert_same(copies({name: p for name, p in model.named_parameters() if not p.requires_grad}), frozen)
    assert torch.equal(ids, IDS)
    assert torch.equal(mask, MASK)


@pytest.mark.parametrize("shape", FOLDERS)
@pytest.mark.parametrize("name", [name for name, tuning in EVERY.items() if isinstance(tuning, Exchanging)])
def test_what_is_exchanged_sets_the_model_whatever_was_in_place(name, shape, request):
    pair = name, EVERY[name], request.getfixturevalue(FOLDERS[shape])
    tuning, model = attached(pair)
    disturb(tuning, model)
    sent = copies(tuning.exchanged(model))
    assert list(sent) == sorted(sent)
    wanted = logits(model)
    other, third = attached(pair)[1], attached(pair)[1]
    disturb(tuning, third)
    disturb(tuning, third)
    for receiver in (other, third):
        tuning.receive(receiver, sent)
        torch.testing.assert_close(logits(receiver), wanted, atol=1e-5, rtol=1e-5)
    assert_same(copies(tuning.parameters(other)), copies(tuning.parameters(third)))


@pytest.mark.parametrize(("name", "shape"), sorted(UNFIT))
def test_a_pair_that_makes_no_sense_is_refused_by_name(name, shape, request):
    folder = request.getfixturevalue(FOLDERS[shape])
    with pytest.raises(
        SettingError, match=r"tuning \w+( with type \w+)? and a \w+(ForCausalLM|LMHeadModel) do not go together.*tuning: lora"
    ):
        EVERY[name].attach(load(folder), 0)
