"""Local fine-tuning after the federation: whole tiny runs."""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fedtailor.errors import RunError, SettingError
from fedtailor.running import run

FINETUNE = {"kind": "finetune", "steps": 3, "learning_rate": 0.02, "keep": "last"}


def personal_of(folder):
    """Return each client's personal adapter."""
    return {file.parts[-3]: load_file(file) for file in sorted(folder.glob("clients/*/adapter/adapter_model.safetensors"))}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_every_client_ends_with_an_adapter_of_its_own_and_a_row_in_the_table(make_job, rows, tmp_path):
    job = make_job(stop__rounds=1, personalization=FINETUNE)
    summary = run(job, data={"train": rows, "test": rows[:5]}, out=tmp_path / "r").summary
    own, shared = personal_of(tmp_path / "r"), load_file(tmp_path / "r" / "adapter" / "adapter_model.safetensors")
    assert len(own) == 4
    assert not any(same(adapter, shared) for adapter in own.values())
    assert not same(own[min(own)], own[max(own)])
    told = summary["personal"]
    assert told["kept"] == 4
    losses = [told["clients"][client]["personal"]["loss"] for client in sorted(own)]
    assert told["personal"]["mean"]["loss"] == pytest.approx(sum(losses) / 4)
    assert told["personal"]["worst"]["loss"] == max(losses)
    assert told["base"]["mean"]["loss"] == pytest.approx(summary["clients"]["before"]["mean"]["loss"])
    assert told["global"]["mean"]["loss"] == pytest.approx(summary["clients"]["mean"]["loss"])
    assert told["personal"]["mean"]["loss"] < told["global"]["mean"]["loss"] < told["base"]["mean"]["loss"]
    assert all(of["public"]["examples"] == 5 for of in told["clients"].values())  # what it forgot: on the public test set
    table = pd.read_parquet(tmp_path / "r" / "evaluations.parquet")
    assert set(table["scope"]) >= {"client", "personal", "personal-validation", "personal-public"}
    found = table[(table["scope"] == "personal") & (table["metric"] == "loss")].set_index("client")["value"]
    assert found.to_dict() == pytest.approx(dict(zip(sorted(own), losses, strict=True)))
    assert summary["traffic"]["by_kind"]["personalize"]["down_bytes"] > 0


def test_the_rounds_are_those_of_a_run_without_it(make_job, rows, tmp_path):
    run(make_job(stop__rounds=2), data=rows, out=tmp_path / "plain")
    run(make_job(stop__rounds=2, personalization=FINETUNE), data=rows, out=tmp_path / "own")
    left, right = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("plain", "own"))
    assert same(left, right)
    assert "personal" not in json.loads((tmp_path / "plain" / "summary.json").read_text())
    assert "personalize" not in json.loads((tmp_path / "plain" / "manifest.json").read_text())["up"]


def test_one_sgd_step_is_the_step_by_hand(make_job, rows, tmp_path):
    """Personal = shared - rate * gradient of the mean loss over the client's own targets."""
    from fedtailor.assembly import assemble

    settings = {"kind": "finetune", "steps": 1, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.5, "clip_norm": None}
    job = make_job(stop__rounds=1, stop__keep="last", tuning__dropout=0.0, personalization=settings | {"keep": "last"})
    run(job, data=rows, out=tmp_path / "r")
    shared = load_file(tmp_path / "r" / "adapter" / "adapter_model.safetensors")
    parts = assemble(job, given=rows)
    parts.worker.load(shared)
    client, own = next(iter(parts.clients.items()))
    parts.worker.model.train()
    total, counted = parts.worker.loss(parts.worker.batch(own.train, list(range(len(own.train)))))
    total.backward()
    own = personal_of(tmp_path / "r")[client]
    moved = 0.0
    for name, param in parts.worker.params.items():
        torch.testing.assert_close(own[name], shared[name] - 0.5 * param.grad / counted, atol=1e-6, rtol=1e-4)
        moved = max(moved, float((own[name] - shared[name]).abs().max()))
    assert moved > 1e-3


@pytest.mark.parametrize(("after", "kept"), [(1.1, 0), (1.0, 0), (0.9, 4)])
def test_keep_best_keeps_the_shared_weights_where_validation_gets_no_better(
    make_job, rows, tmp_path, *, monkeypatch, after, kept
):
    from fedtailor.personalization import finetune

    losses = iter([1.0, after] * 4)
    monkeypatch.setattr(finetune, "_validation_loss", lambda turn: next(losses))
    summary = run(make_job(stop__rounds=1, personalization=FINETUNE | {"keep": "best"}), data=rows, out=tmp_path / "r").summary
    shared = load_file(tmp_path / "r" / "adapter" / "adapter_model.safetensors")
    assert summary["personal"]["kept"] == kept
    assert sum(not same(adapter, shared) for adapter in personal_of(tmp_path / "r").values()) == kept
    if not kept:
        assert summary["personal"]["personal"]["mean"] == pytest.approx(summary["personal"]["global"]["mean"])


def test_a_personal_adapter_loads_with_peft(make_job, rows, tmp_path, tiny_backbone_folder):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run(make_job(stop__rounds=1, personalization=FINETUNE), data=rows, out=tmp_path / "r")
    folder = min((tmp_path / "r" / "clients").glob("*/adapter"))
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_backbone_folder), folder)
    want = load_file(folder / "adapter_model.safetensors")
    found = {name.replace(".default", ""): p for name, p in model.named_parameters() if "lora" in name}
    assert found.keys() == want.keys()
    assert all(torch.equal(found[name], want[name]) for name in want)


@pytest.mark.parametrize(
    ("tuning", "file"),
    [
        ({"kind": "full"}, "model/model.safetensors"),
        ({"kind": "prefix", "length": 3, "hidden": 8, "exchange": "prefix"}, "adapter/adapter_model.safetensors"),
    ],
)
def test_other_tunings_end_with_what_they_save(make_job, rows, tmp_path, tuning, file):
    summary = run(make_job(stop__rounds=1, tuning=tuning, personalization=FINETUNE), data=rows, out=tmp_path / "r").summary
    assert len(list((tmp_path / "r" / "clients").glob(f"*/{file}"))) == 4
    assert summary["personal"]["kept"] == 4


def test_a_client_that_fails_is_named_and_the_others_end_with_their_own(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.personalization import FineTune

    finish = FineTune.finish

    def fail_at_2(self, turn):
        if turn.client.id.endswith("2"):
            raise MemoryError("the row of Mrs Jones does not fit")
        return finish(self, turn)

    monkeypatch.setattr(FineTune, "finish", fail_at_2)
    summary = run(make_job(stop__rounds=1, personalization=FINETUNE), data=rows, out=tmp_path / "r").summary
    assert len(summary["personal"]["clients"]) == len(personal_of(tmp_path / "r")) == 3
    assert "Jones" not in (tmp_path / "r" / "events.jsonl").read_text()
    monkeypatch.setattr(FineTune, "finish", lambda self, turn: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(RunError, match="none of 4 clients"):
        run(make_job(stop__rounds=1, personalization=FINETUNE), data=rows, out=tmp_path / "all")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"epochs": -1.0}, "epochs"),
        ({"steps": 0}, "steps"),
        ({"keep": "worst"}, "keep"),
        ({"epoch": 1}, "epochs"),
    ],
)
def test_bad_settings_are_refused(make_job, settings, told):
    with pytest.raises(SettingError, match=told):
        make_job(personalization={"kind": "finetune"} | settings)


def test_keep_best_without_validation_parts_is_refused_before_any_work(make_job, rows, tmp_path):
    data = {"train": rows, "validation": rows[:4]}
    with pytest.raises(SettingError, match=r"keep: last"):
        run(make_job(personalization={"kind": "finetune"}), data=data, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_an_unknown_kind_names_the_nearest(make_job):
    with pytest.raises(SettingError, match="finetune"):
        make_job(personalization={"kind": "fine-tune"})


def test_baselines_share_nothing_and_personalize_nothing(make_job, rows, tmp_path):
    from fedtailor.studies.baselines import run_baseline

    result = run_baseline(make_job(stop__rounds=1, personalization=FINETUNE), "central", data=rows, out=tmp_path / "r")
    assert "personal" not in result.summary
