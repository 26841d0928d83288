import pytest
import torch
from tuning_shapes import FOLDERS, disturb, load, logits

from fedtailor.aggregation import FfaLora, FlexLora
from fedtailor.errors import SettingError
from fedtailor.tensors import count
from fedtailor.tuning import FedSB
from fedtailor.tuning.fed_sb import FILE, Between, Frozen

RANK = 4


@pytest.fixture(params=FOLDERS)
def folder(request):
    return request.getfixturevalue(FOLDERS[request.param])


def layers(model):
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_B")}


def products(model):
    """Return B R A of each module, [out, in], without alpha / rank."""
    return {n: m.lora_B["default"].weight.detach() @ m.lora_A["default"].weight for n, m in layers(model).items()}


@pytest.mark.parametrize(
    ("setting", "value"), [("rank", 0), ("rank", True), ("alpha", 0), ("dropout", 1.0), ("start", "gradient"), ("targets", [])]
)
def test_wrong_settings_are_named(setting, value):
    with pytest.raises(SettingError, match=f"^{setting} is "):
        FedSB(**{setting: value})


def test_a_rank_past_a_side_of_the_weight_is_refused(tiny_backbone_folder):
    with pytest.raises(SettingError, match=r"rank is 9, but .*v_proj is 8 by 16; choose rank: 8 or less"):
        FedSB(rank=9).attach(load(tiny_backbone_folder), 0)


def test_packed_weights_have_no_singular_vectors_to_read(tiny_backbone_folder):
    model = load(tiny_backbone_folder)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight = torch.nn.Parameter(module.weight.to(torch.uint8), requires_grad=False)
    with pytest.raises(SettingError, match="choose start: random"):
        FedSB(rank=RANK).attach(model, 0)


@pytest.mark.parametrize("start", ["weights", "random"])
def test_factors_are_orthonormal_and_frozen_and_squares_alone_are_sent(folder, start):
    tuning = FedSB(rank=RANK, start=start)
    model = tuning.attach(load(folder), 0)
    for module in layers(model).values():
        a, b = module.lora_A["default"].weight, module.lora_B["default"].frozen
        torch.testing.assert_close(a @ a.T, torch.eye(RANK), atol=1e-5, rtol=0)
        torch.testing.assert_close(b.T @ b, torch.eye(RANK), atol=1e-5, rtol=0)
    squares = {name: p for name, p in tuning.parameters(model).items() if name.endswith(".lora_R")}
    assert len(squares) == len(layers(model))
    assert all(p.shape == (RANK, RANK) and not p.any() for p in squares.values())
    others = {name.split(".")[-2] for name in tuning.parameters(model).keys() - squares.keys()}
    assert others == ({"classifier"} if "bert" in folder.name else set())


def test_singular_vectors_are_those_of_the_weight_also_where_it_lies_transposed(folder):
    # the second witness: B^T W A^T is the diagonal of the largest singular values
    model = FedSB(rank=RANK).attach(load(folder), 0)
    for module in layers(model).values():
        weight = module.get_base_layer().weight
        weight = weight.T if module.fan_in_fan_out else weight
        inner = module.lora_B["default"].frozen.T @ weight @ module.lora_A["default"].weight.T
        torch.testing.assert_close(inner, torch.linalg.svdvals(weight)[:RANK].diag(), atol=1e-5, rtol=0)


def test_random_factors_come_from_the_seed_and_differ_from_module_to_module(tiny_gpt2_folder):
    tuning = FedSB(rank=RANK, start="random")
    one, same, other = (layers(tuning.attach(load(tiny_gpt2_folder), seed)) for seed in (0, 0, 1))
    factors = [[module.lora_A["default"].weight for module in each.values()] for each in (one, same, other)]
    assert all(torch.equal(a, b) for a, b in zip(factors[0], factors[1], strict=True))
    assert not any(torch.allclose(a, b) for a, b in zip(factors[0], factors[2], strict=True))
    assert not torch.allclose(factors[0][0], factors[0][1])


def test_a_layer_by_hand():
    # x (1, 2), A = (1, 0 | 0, 1), R = (0, 3 | 1, 0): A x = (1, 2), R A x = (6, 1); B picks the second, the first, and nothing
    first, second = Frozen(torch.eye(2)), Between(torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]))
    second.square.weight.data = torch.tensor([[0.0, 3.0], [1.0, 0.0]])
    assert second(first(torch.tensor([1.0, 2.0]))).tolist() == [1.0, 6.0, 0.0]
    assert second.weight.tolist() == [[1.0, 0.0], [0.0, 3.0], [0.0, 0.0]]


def test_the_mean_of_what_is_sent_is_the_mean_of_the_products(folder):
    tuning = FedSB(rank=RANK)
    clients = [tuning.attach(load(folder), 0) for _ in range(2)]
    disturb(tuning, clients[0])
    disturb(tuning, clients[1])
    disturb(tuning, clients[1])
    both = [tuning.parameters(client) for client in clients]
    server = tuning.attach(load(folder), 0)
    for name, parameter in tuning.parameters(server).items():
        parameter.data = (both[0][name].data + 3 * both[1][name].data) / 4
    left, right = (products(client) for client in clients)
    for name, found in products(server).items():
        torch.testing.assert_close(found, (left[name] + 3 * right[name]) / 4, atol=1e-6, rtol=0)


def test_peft_loads_it_as_a_plain_lora(folder, tmp_path):
    from peft import PeftModel

    tuning = FedSB(rank=RANK, alpha=6)
    model = tuning.attach(load(folder), 0)
    disturb(tuning, model)
    tuning.save(model, tmp_path)
    theirs = PeftModel.from_pretrained(load(folder), tmp_path).eval()
    torch.testing.assert_close(logits(theirs), logits(model), atol=1e-5, rtol=0)
    assert not torch.allclose(logits(theirs), logits(load(folder)), atol=1e-4)


def test_a_folder_without_the_matrices_apart_is_refused(tiny_gpt2_folder, tmp_path):
    tuning = FedSB(rank=RANK)
    model = tuning.attach(load(tiny_gpt2_folder), 0)
    tuning.save(model, tmp_path)
    (tmp_path / FILE).unlink()
    with pytest.raises(SettingError, match="R cannot be derived from B R alone"):
        tuning.restore(model, tmp_path)


def test_what_is_sent_grows_with_the_square_of_the_rank_alone(tiny_backbone_folder):
    sent = [count(FedSB(rank=rank).parameters(FedSB(rank=rank).attach(load(tiny_backbone_folder), 0))) for rank in (2, 4)]
    assert sent == [2 * 2 * 4, 2 * 2 * 16]  # 2 layers, query and value: not their widths


@pytest.mark.parametrize("rule", [FlexLora(), FfaLora()], ids=repr)
def test_rules_for_two_trained_factors_are_refused(rule, tiny_gpt2_folder):
    tuning = FedSB(rank=RANK)
    with pytest.raises(SettingError, match="none is shared"):
        rule.init(tuning.parameters(tuning.attach(load(tiny_gpt2_folder), 0)))
