"""Weights that stay home, and weights beside the shared ones."""

import json

import pytest
import torch
from safetensors.torch import load_file

from fedtailor.errors import SettingError
from fedtailor.personalization import FedPer, FedSaLora
from fedtailor.running import run

NAMES = ["m.layers.0.q.lora_A.weight", "m.layers.0.q.lora_B.weight", "m.layers.1.q.lora_A.weight", "m.layers.1.q.lora_B.weight"]


@pytest.mark.parametrize(
    ("home", "places"),
    [(["lora_B"], [1, 3]), (["*.layers.1.*"], [2, 3]), (["*.1.q.lora_A.*", NAMES[1]], [1, 2]), ([NAMES[0]], [0])],
)
def test_names_parts_and_patterns(home, places):
    assert FedPer(home=tuple(home)).stays_home(NAMES) == {NAMES[i] for i in places}


def test_what_matches_nothing_or_all_is_refused_by_name():
    with pytest.raises(SettingError, match=r"'scoer' matches none of the 4 .* lora_A"):
        FedPer(home=("lora_B", "scoer")).stays_home(NAMES)
    with pytest.raises(SettingError, match="nothing would be shared"):
        FedPer(home=("m",)).stays_home(NAMES)
    with pytest.raises(SettingError, match="tuning: lora"):
        FedSaLora().stays_home(["score.weight"])


def trained(make_job, rows, folder, **changes):
    changes = {"stop__rounds": 2, "tuning__dropout": 0.0} | changes
    summary = run(make_job(**changes), data=rows, out=folder).summary
    return summary, load_file(folder / "checkpoint" / f"{changes['stop__rounds']:06d}" / "shared.safetensors")


def adapters(folder):
    return {file.parts[-3]: load_file(file) for file in sorted(folder.glob("clients/*/adapter/adapter_model.safetensors"))}


def test_fedsa_is_fedper_with_b_at_home_and_sends_half_of_it(make_job, rows, tmp_path):
    _, shared = trained(make_job, rows, tmp_path / "sa", personalization="fedsa-lora")
    _, other = trained(make_job, rows, tmp_path / "per", personalization={"kind": "fedper", "home": ["lora_B"]})
    assert shared.keys() == other.keys()
    assert all("lora_A" in name and torch.equal(shared[name], other[name]) for name in shared)
    left, right = adapters(tmp_path / "sa"), adapters(tmp_path / "per")
    assert all(torch.equal(left[client][name], right[client][name]) for client in left for name in left[client])
    manifest = json.loads((tmp_path / "sa" / "manifest.json").read_text())
    for direction in ("up", "down"):
        assert all("lora_B" not in name for spec in manifest[direction].values() for name in spec["tensors"])
    one, two = list(left.values())[:2]
    assert all(torch.equal(one[name], two[name]) == ("lora_A" in name) for name in one)  # A is everybody's, B each one's own
    clean = load_file(tmp_path / "sa" / "adapter" / "adapter_model.safetensors")
    assert all(
        not value.abs().sum() for name, value in clean.items() if "lora_B" in name
    )  # the shared result has B as it was drawn


def test_fedper_by_hand_after_one_round_of_one_sgd_step(make_job, rows, tmp_path):
    """B of client k = B drawn - rate * its own gradient; A = A drawn - rate * the weighted mean of gradients (0, as B is 0)."""
    from fedtailor.assembly import assemble

    local = {"steps": 1, "batch_size": 64, "optimizer": "sgd", "learning_rate": 20.0, "clip_norm": None}
    job = {"protocol__local": local, "stop__rounds": 1, "personalization": {"kind": "fedper", "home": ["lora_B"]}}
    trained(make_job, rows, tmp_path / "r", **job)
    parts = assemble(make_job(tuning__dropout=0.0, **job), given=rows)
    found = adapters(tmp_path / "r")
    assert len(found) == 4
    for client, own in parts.clients.items():
        parts.worker.model.zero_grad()
        parts.worker.model.train()
        total, counted = parts.worker.loss(parts.worker.batch(own.train, list(range(len(own.train)))))
        total.backward()
        for name, param in parts.worker.params.items():
            if "lora_B" in name:
                torch.testing.assert_close(found[client][name], -20 * param.grad / counted, atol=1e-6, rtol=1e-4)
                assert found[client][name].abs().max() > 1e-4


def test_fedrep_trains_home_weights_first_and_each_set_with_the_other_at_rest(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.learning import training

    calls = []
    train = training.train_locally

    def spy(work):
        params = work.worker.params
        before = {name: param.detach().clone() for name, param in params.items()}
        result = train(work)
        moved = {name.split(".")[-2] for name, param in params.items() if not torch.equal(param, before[name])}
        calls.append((moved, len(result.losses)))
        return result

    monkeypatch.setattr(training, "train_locally", spy)
    own = {"kind": "fedrep", "home": ["lora_B"], "home_steps": 3}
    trained(make_job, rows, tmp_path / "r", personalization=own, protocol__local__steps=2, stop__rounds=1)
    assert calls == [({"lora_B"}, 3), ({"lora_A"}, 2)] * 4


def test_ditto_leaves_the_shared_weights_as_they_are_without_it(make_job, rows, tmp_path):
    _, plain = trained(make_job, rows, tmp_path / "plain")
    _, beside = trained(make_job, rows, tmp_path / "ditto", personalization={"kind": "ditto", "pull": 0.5})
    assert all(torch.equal(plain[name], beside[name]) for name in plain)


def test_ditto_by_hand(make_job, rows, tmp_path):
    """Two SGD steps at the shared w: v1 = w - r g(w), v2 = v1 - r (g(v1) + pull (v1 - w)); so pull moves v2 by - r pull (v1 - w)."""
    local = {"steps": 2, "batch_size": 64, "optimizer": "sgd", "learning_rate": 20.0, "clip_norm": None}
    job = {"protocol__local": local, "stop__rounds": 1}
    runs = {}
    for name, steps, pull in (("first", 1, 0.0), ("free", 2, 0.0), ("drawn", 2, 0.05)):
        own = {"kind": "ditto", "pull": pull, "steps": steps}
        trained(make_job, rows, tmp_path / name, personalization=own, **job)
        runs[name] = adapters(tmp_path / name)
    start = load_file(tmp_path / "first" / "checkpoint" / "000000" / "shared.safetensors")
    for client in runs["first"]:
        for name, w in start.items():
            v1, free, drawn = (runs[which][client][name] for which in ("first", "free", "drawn"))
            torch.testing.assert_close(drawn, free - 20 * 0.05 * (v1 - w), atol=2e-6, rtol=1e-4)
        assert max(float((runs["free"][client][name] - runs["drawn"][client][name]).abs().max()) for name in start) > 1e-3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"personalization": {"kind": "fedper", "home": ["scoer"]}}, "'scoer' matches none"),
        ({"personalization": "fedsa-lora", "tuning": {"kind": "prompt", "length": 4}}, "tuning: prompt"),
        ({"personalization": "fedsa-lora", "protocol__aggregation": {"kind": "ffa-lora"}}, "ffa-lora"),
        (
            {
                "personalization": "fedsa-lora",
                "protocol": {"aggregation": {"kind": "scaffold"}, "local": {"optimizer": "sgd", "learning_rate": 0.1}},
            },
            "scaffold",
        ),
    ],
)
def test_pairs_that_do_not_fit_are_refused_before_any_work(make_job, rows, tmp_path, changes, told):
    with pytest.raises(SettingError, match=told):
        run(make_job(**changes), data=rows, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_public_validation_set_cannot_judge_weights_that_stay_home(make_job, rows, tmp_path):
    data = {"train": rows, "validation": rows[:4]}
    with pytest.raises(SettingError, match="keep: last"):
        run(make_job(personalization="fedsa-lora"), data=data, out=tmp_path / "r")
    assert run(make_job(personalization="fedsa-lora", stop__keep="last", stop__rounds=1), data=data, out=tmp_path / "r").summary


@pytest.mark.parametrize(
    "settings", [{"kind": "ditto", "pull": -1.0}, {"kind": "fedper", "home": []}, {"kind": "ditto", "epochs": 1.0, "steps": 1}]
)
def test_bad_settings_are_refused(make_job, settings):
    with pytest.raises(SettingError):
        make_job(personalization=settings)


def test_weights_that_stay_home_are_not_sent_whatever_the_tuning_exchanges(make_job, rows):
    """A prefix network is exchanged through the tuning, and home weights are none of it."""
    from fedtailor.assembly import assemble

    tuning = {"kind": "prefix", "length": 3, "hidden": 8}
    names = assemble(make_job(tuning=tuning), given=rows).worker.tensors()
    one = min(names)
    parts = assemble(make_job(tuning=tuning, personalization={"kind": "fedper", "home": [one]}), given=rows)
    assert parts.worker.home == {one}
    assert set(parts.worker.tensors()) == set(names) - {one}
    assert one not in parts.manifest.up["train"].tensors
    parts.worker.load(parts.worker.tensors(), home={one: names[one] + 1})
    assert bool((parts.worker.params[one].detach() == names[one] + 1).all())
