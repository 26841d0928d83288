"""Two adapters at each client: FedDPA and FedALT, on whole tiny runs and by hand."""

import json

import pytest
import torch
from jobs import tiny_job
from safetensors.torch import load_file

from fedtailor.assembly import assemble
from fedtailor.errors import SettingError
from fedtailor.personalization import load_personal
from fedtailor.personalization.fedalt import WORLD
from fedtailor.personalization.pairs.gate import Gates
from fedtailor.running import run
from fedtailor.tuning.adapters.mixture import draw_adapter, mixed
from fedtailor.tuning.adapters.second import adapter_parameters, lora_layers

FEDDPA, FEDALT = {"kind": "feddpa"}, {"kind": "fedalt"}


def state_of(folder, client, version):
    """Return what a client kept of its own."""
    kept = load_file(folder / "clients" / client / f"state-{version:06d}.safetensors")
    return {name.removeprefix("own/"): value for name, value in kept.items() if name.startswith("own/")}


def shared_of(folder, version):
    return load_file(folder / "checkpoint" / f"{version:06d}" / "shared.safetensors")


def test_f_leaves_the_rounds_as_they_are_and_trains_the_local_adapter_after_them(make_job, rows, tmp_path):
    run(make_job(stop__rounds=2), data=rows, out=tmp_path / "plain")
    run(make_job(stop__rounds=2, personalization=FEDDPA | {"weight": 1.0}), data=rows, out=tmp_path / "f")
    left, right = shared_of(tmp_path / "plain", 2), shared_of(tmp_path / "f", 2)
    assert all(torch.equal(left[name], right[name]) for name in left)
    manifest = json.loads((tmp_path / "f" / "manifest.json").read_text())
    assert all("own_" not in name for way in ("up", "down") for spec in manifest[way].values() for name in spec["tensors"])


def test_the_local_adapter_after_one_sgd_step_is_that_by_hand(make_job, rows, tmp_path):
    """B = 0 - rate * gradient at share one half, with the global adapter at rest; A, whose gradient is zero as B is, stays as drawn."""
    local = {"steps": 1, "batch_size": 64, "optimizer": "sgd", "learning_rate": 20.0, "clip_norm": None}
    changes = {"protocol__local": local, "stop__rounds": 1, "stop__keep": "last", "tuning__dropout": 0.0}
    job = make_job(personalization=FEDDPA, **changes)
    run(job, data=rows, out=tmp_path / "r")
    parts = assemble(job, given=rows)
    worker = parts.worker
    worker.load(shared_of(tmp_path / "r", 1))
    draw_adapter(worker.model, "own", seed=0)
    own = adapter_parameters(worker.model, "own")
    for client, record in parts.clients.items():
        worker.model.zero_grad()
        worker.model.train()
        with mixed(worker.model, "own", lambda module, x: 0.5):
            for parameter in own.values():
                parameter.requires_grad_(True)
                parameter.grad = None
            total, counted = worker.loss(worker.batch(record.train, list(range(len(record.train)))))
            total.backward()
        found = load_file(tmp_path / "r" / "clients" / client / "adapter" / "mixture.safetensors")
        for name, parameter in own.items():
            torch.testing.assert_close(found[name], parameter.detach() - 20 * parameter.grad / counted, atol=1e-6, rtol=1e-4)
        assert max(float(found[name].abs().max()) for name in own if "own_B" in name) > 1e-4
        first = load_file(tmp_path / "r" / "clients" / client / "adapter" / "adapter_model.safetensors")
        shared = shared_of(tmp_path / "r", 1)
        assert all(torch.equal(first[name], shared[name]) for name in shared)


def test_the_local_adapter_has_the_dropout_of_the_tuning_and_the_resting_one_keeps_its(make_job, rows):
    """A value of the input is dropped with probability 0.5: with one adapter alone in place, its output follows its own draws."""
    model = assemble(make_job(personalization=FEDDPA, tuning__dropout=0.5), given=rows).worker.model
    layers = lora_layers(model)
    assert layers
    for layer in layers.values():
        assert {name: layer.lora_dropout[name].p for name in ("default", "own")} == {"default": 0.5, "own": 0.5}
    layer = next(iter(layers.values()))
    x = torch.ones(64, layer.in_features)
    for name in ("default", "own"):
        layer.lora_A[name].weight.data.fill_(1.0)
        layer.lora_B[name].weight.data.fill_(1.0)
    distinct = {}
    for share in (0.0, 1.0):  # of the local one, while it is trained and in evaluation
        for training in (True, False):
            model.train(training)
            with mixed(model, "own", lambda module, x: share), torch.no_grad():  # noqa: B023
                distinct[share, training] = len(set(layer(x)[:, 0].tolist()))
    assert distinct[0.0, False] == distinct[1.0, False] == 1  # equal rows have equal outputs
    assert min(distinct[0.0, True], distinct[1.0, True]) > 3


def test_t_trains_the_local_adapter_on_from_round_to_round(make_job, rows, tmp_path):
    settings = FEDDPA | {"variant": "T", "steps": 1, "weight": 0.5}
    run(make_job(stop__rounds=2, personalization=settings), data=rows, out=tmp_path / "t")
    run(make_job(stop__rounds=2), data=rows, out=tmp_path / "plain")
    left, right = shared_of(tmp_path / "t", 2), shared_of(tmp_path / "plain", 2)
    assert all(torch.equal(left[name], right[name]) for name in left)  # the global one is trained alone
    client = min(path.name for path in (tmp_path / "t" / "clients").iterdir())
    first, second = (state_of(tmp_path / "t", client, version) for version in (1, 2))
    assert first.keys() == second.keys()
    assert all(".own_" in name for name in first)
    assert not any(torch.equal(first[name], second[name]) for name in first if "own_B" in name)


def test_joined_the_personal_model_is_a_plain_adapter_of_both_ranks(make_job, rows, tmp_path, tiny_backbone_folder):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    settings = FEDDPA | {"weight": 0.3, "rank": 3, "alpha": 1.5, "steps": 2}
    job = make_job(stop__rounds=1, personalization=settings)
    run(job, data=rows, out=tmp_path / "r")
    folder = min((tmp_path / "r" / "clients").glob("*/adapter"))
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_backbone_folder), folder).eval()
    assert model.peft_config["default"].r == 5
    assert not (folder / "mixture.json").exists()
    ids = torch.tensor([[5, 17, 130]])
    ours = load_personal(AutoModelForCausalLM.from_pretrained(tiny_backbone_folder), folder)
    torch.testing.assert_close(model(ids).logits, ours(ids).logits)


def test_fedalt_keeps_the_mean_of_all_clients_whoever_takes_part(make_job, rows, tmp_path):
    """The server's mean is that of what clients kept last; one that was never asked counts as all were at the start."""
    job = make_job(stop__rounds=3, personalization=FEDALT, clients__per_round=2, evaluation__local_only=True)
    summary = run(job, data=rows, out=tmp_path / "r").summary
    start, mean = load_file(tmp_path / "r" / "checkpoint" / "start.safetensors"), shared_of(tmp_path / "r", 3)
    last = {}
    for client in sorted(summary["personal"]["clients"]):
        files = sorted((tmp_path / "r" / "clients" / client).glob("state-*.safetensors"))
        last[client] = state_of(tmp_path / "r", client, int(files[-1].stem[-6:])) if files else dict(start)
    for name, value in mean.items():
        torch.testing.assert_close(value, torch.stack([own[name] for own in last.values()]).mean(0), atol=1e-6, rtol=1e-5)
    for client, own in last.items():
        folder = tmp_path / "r" / "clients" / client / "adapter"
        found, first = load_file(folder / "mixture.safetensors"), load_file(folder / "adapter_model.safetensors")
        others = [each for other, each in last.items() if other != client]
        for name in (name for name in found if f".{WORLD}_" in name):
            wanted = torch.stack([each[name.replace(f".{WORLD}_", ".lora_")] for each in others]).mean(0)
            torch.testing.assert_close(found[name], wanted, atol=1e-6, rtol=1e-5)
        assert all(torch.equal(first[name], own[name]) for name in first)  # its own LoRA, as it went on with it


def test_gates_start_at_half_and_learn(make_job, rows, tmp_path):
    parts = assemble(make_job(personalization=FEDALT), given=rows)
    gates = Gates(parts.worker.model, WORLD, {})
    x = torch.randn(2, 3, 16)
    module = next(iter(gates.parameters)).split(".gate.")[0]
    assert torch.equal(gates(module, x), torch.full((2, 3, 1), 0.5))
    gates.parameters[f"{module}.gate.weight"].data[0] = 2.0
    gates.parameters[f"{module}.gate.bias"].data[0] = -1.0
    torch.testing.assert_close(
        gates(module, x), torch.sigmoid(-(2 * x[..., :1] - 1))
    )  # the others' share is what the own one leaves
    run(make_job(personalization=FEDALT, stop__rounds=3), data=rows, out=tmp_path / "r")
    client = min(path.name for path in (tmp_path / "r" / "clients").iterdir())
    kept = state_of(tmp_path / "r", client, 3)
    assert {name for name in kept if ".gate." in name} == set(gates.parameters)
    assert all(kept[name].abs().max() > 0 for name in gates.parameters)
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert all(".gate." not in name for way in ("up", "down") for spec in manifest[way].values() for name in spec["tensors"])


def test_the_others_rest_while_a_client_trains(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.learning import training

    seen = []
    train = training.train_locally

    def spy(work):
        world = adapter_parameters(work.worker.model, WORLD)
        before = {name: value.detach().clone() for name, value in world.items()}
        result = train(work)
        seen.append(all(torch.equal(before[name], world[name]) for name in world))
        assert not any(value.requires_grad for value in world.values())
        return result

    monkeypatch.setattr(training, "train_locally", spy)
    run(make_job(personalization=FEDALT, stop__rounds=2), data=rows, out=tmp_path / "r")
    assert seen == [True] * 8


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"personalization": FEDDPA, "tuning": {"kind": "prompt", "length": 4}},
            "feddpa does not go with tuning: prompt.*tuning: lora",
        ),
        ({"personalization": FEDALT, "tuning": {"kind": "full"}}, "fedalt does not go with tuning: full"),
        ({"personalization": FEDDPA, "tuning": {"kind": "peft", "type": "LORA"}}, "choose tuning: lora"),
        ({"personalization": FEDALT, "protocol__aggregation": {"kind": "fedadam"}}, "aggregation: fedadam.*ditto"),
        ({"personalization": FEDALT, "protocol__local__proximal": 0.1}, "proximal.*ditto"),
        ({"personalization": FEDALT, "protocol__wire": "bfloat16"}, "wire: float32"),
        ({"personalization": FEDALT, "clients__count": 1}, "finetune"),
    ],
)
def test_pairs_that_make_no_sense_are_refused_before_any_work(make_job, rows, tmp_path, changes, told):
    with pytest.raises(SettingError, match=told):
        run(make_job(**changes), data=rows, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_language_modeling_has_no_instance_weight_and_a_number_works(tiny_backbone_folder, tmp_path):
    rows = [{"text": f"The {name} is number {place} by the river."} for place in range(6) for name in ("Eagle", "Mill", "Vaults")]
    rows += [{"text": f"{row['text']} It serves food."} for row in rows]
    changes = {"task": {"kind": "language-modeling", "block": 16}, "stop__rounds": 1}
    with pytest.raises(SettingError, match=r"weight: 0\.5"):
        run(tiny_job(tiny_backbone_folder, personalization=FEDDPA, **changes), data=rows, out=tmp_path / "r")
    job = tiny_job(tiny_backbone_folder, personalization=FEDDPA | {"weight": 0.5}, **changes)
    assert run(job, data=rows, out=tmp_path / "r").summary["personal"]["kept"] == 4


@pytest.mark.parametrize("settings", [FEDALT, FEDDPA | {"variant": "T"}])
def test_a_public_validation_set_cannot_judge_the_rounds(make_job, rows, tmp_path, settings):
    with pytest.raises(SettingError, match="keep: last"):
        run(make_job(personalization=settings), data={"train": rows, "validation": rows[:4]}, out=tmp_path / "r")


@pytest.mark.parametrize(
    "settings",
    [
        {"weight": 1.5},
        {"weight": "often"},
        {"scale": 0.0},
        {"samples": 0},
        {"rank": 0},
        {"epochs": 1.0, "steps": 1},
        {"trained_weight": 0.0},
        {"variant": "G"},
    ],
)
def test_bad_settings_are_refused(make_job, settings):
    with pytest.raises(SettingError):
        make_job(personalization=FEDDPA | settings)


def test_a_client_that_never_trained_a_local_adapter_has_the_global_one(make_job, rows, tmp_path):
    job = make_job(stop__rounds=1, clients__per_round=1, personalization=FEDDPA | {"variant": "T"})
    told = run(job, data=rows, out=tmp_path / "r").summary["personal"]
    assert told["kept"] == 1
    assert sum(of["personal"] == pytest.approx(of["global"]) for of in told["clients"].values()) == 3


@pytest.mark.parametrize("damage", ["{", '{"shares": "moods"}', "[]"])
def test_a_damaged_folder_is_reported(make_job, rows, tmp_path, damage, tiny_backbone_folder):
    from transformers import AutoModelForCausalLM

    run(make_job(stop__rounds=1, personalization=FEDALT), data=rows, out=tmp_path / "r")
    folder = min((tmp_path / "r" / "clients").glob("*/adapter"))
    (folder / "mixture.json").write_text(damage)
    with pytest.raises(SettingError, match="is the folder whole"):
        load_personal(AutoModelForCausalLM.from_pretrained(tiny_backbone_folder), folder)
