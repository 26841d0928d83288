"""Distillation by every rule, with language models, with other tunings than LoRA."""

import json

import pandas as pd
import pytest
import torch
from distilling import LEARN, class_data, class_job, weights
from safetensors.torch import load_file

from fedtailor.running import run


@pytest.fixture
def make(tiny_bert_folder):
    """Return a maker of jobs: make(p_wire="int8", stop__rounds=1)."""
    return lambda **changes: class_job(tiny_bert_folder, **changes)


@pytest.mark.parametrize(
    "aggregation",
    [
        {"kind": "entropy-reduced"},
        {"kind": "entropy-weights"},
        {"kind": "label-counts"},
        {"kind": "mean", "of": "probabilities", "weights": "examples"},
    ],
    ids=lambda rule: rule["kind"],
)
def test_every_other_rule_runs(make, tmp_path, aggregation):
    more = {"p_label_counts": True, "p_label_epsilon": 2.0} if aggregation["kind"] == "label-counts" else {}
    job = make(p_aggregation=aggregation, p_back="consensus", p_public_fit=False, stop__rounds=2, **more)
    result = run(job, data=class_data(), out=tmp_path / "r")
    public = result.summary["distillation"]["public_set"]
    assert "told_apart" not in public
    if more:
        up = json.loads((tmp_path / "r" / "manifest.json").read_text())["up"]["train"]["facts"]
        assert "geometric noise" in up["label_counts"]["purpose"]
        assert 0 <= public["labels_unlike"] <= 1
        kept = [load_file(p)["told/counts"].tolist() for p in sorted((tmp_path / "r/clients/client-00").glob("state-*"))]
        assert (
            kept == [public["label_counts"]["client-00"]] * 3
        )  # drawn once, before round 1 began: noise drawn again would average out
    else:
        assert "label_counts" not in public


def test_a_round_that_is_tried_again_reports_the_noised_counts_that_were_drawn_first(make, tmp_path, monkeypatch):
    from fedtailor.protocols.distillation import client as distillation_client

    drawn, said, noised, say = [], [], distillation_client.noised_counts, distillation_client.say

    def broken(worker, shard, encode):
        said.append(1)
        return say(worker, shard, (lambda logits: encode(logits * float("nan"))) if len(said) == 2 else encode)

    monkeypatch.setattr(distillation_client, "noised_counts", lambda *args: drawn.append(1) or noised(*args))
    monkeypatch.setattr(distillation_client, "say", broken)
    job = make(p_label_counts=True, p_label_epsilon=2.0, p_quorum=1.0, stop__rounds=1)
    result = run(job, data=class_data(), out=tmp_path / "r")
    assert sorted(result.history["round"]) == [1]
    assert len(said) == 6  # three clients, asked twice
    assert len(drawn) == 3  # drawn again it would spend epsilon twice


def test_the_ensemble_sends_weights_and_starts_from_their_mean(make, tmp_path):
    job = make(p_aggregation={"kind": "ensemble"}, p_distil={"steps": 1, "learning_rate": 1e-9}, stop__rounds=1)
    result = run(job, data=class_data(), out=tmp_path / "r")
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    shared = load_file(tmp_path / "r" / "checkpoint" / "000001" / "shared.safetensors")
    names = {f"weights/{name}" for name in shared}
    assert set(manifest["up"]["train"]["tensors"]) == names | {"logits/values"}
    assert set(manifest["down"]["train"]["tensors"]) == names == set(manifest["down"]["align"]["tensors"])
    states = [load_file(tmp_path / "r" / "clients" / f"client-0{n}" / "state-000001.safetensors") for n in range(3)]
    examples = pd.read_parquet(tmp_path / "r" / "clients.parquet")["examples"].tolist()
    for name, value in shared.items():
        mean = sum(n / sum(examples) * state[f"own/{name}"] for n, state in zip(examples, states, strict=True))
        torch.testing.assert_close(value, mean, rtol=1e-4, atol=1e-5)  # the student has hardly moved
    for n in range(3):
        assert all(
            torch.equal(a, b)
            for a, b in zip(
                weights(tmp_path / "r" / "clients" / f"client-0{n}").values(), weights(result.folder).values(), strict=True
            )
        )


def test_generation_by_the_likeliest_words(make_job, rows, tmp_path):
    protocol = {
        "kind": "distillation",
        "public": "rest",
        "top_k": 8,
        "wire": "int8",
        "slice": 0.5,
        "local": LEARN,
        "align": LEARN,
    }
    job = make_job(protocol=protocol | {"distil": LEARN}, data__limit={"train": 36}, stop__rounds=2)
    result = run(job, data=rows, out=tmp_path / "r")
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    up = manifest["up"]["train"]["tensors"]
    assert {name: (spec["dtype"], spec["shape"][1:]) for name, spec in up.items()} == {
        "logits/values": ("int8", [9]), "logits/scale": ("float32", []), "logits/entries": ("int16", [8])
    }  # fmt: skip
    assert result.summary["distillation"]["own"]["mean"]["loss"] < result.summary["metrics"]["before"]["loss"]
    clients = pd.read_parquet(tmp_path / "r" / "clients.parquet")
    places = manifest["sizes"]["places"]
    assert (clients["up_bytes"] < places * (9 + 4 + 16) + 700).all()
    assert clients["align_loss"].notna().sum() == 4  # in round 2


def test_a_prefix_network_and_full_tuning_distil_too(make_job, rows, tmp_path):
    protocol = {
        "kind": "distillation",
        "public": "rest",
        "top_k": 4,
        "local": {"steps": 1},
        "align": {"steps": 1},
        "distil": {"steps": 1},
    }
    for tuning in ({"kind": "prefix", "length": 2}, {"kind": "full"}):
        job = make_job(protocol=protocol, data__limit={"train": 36}, tuning=tuning, stop__rounds=1, evaluation__metrics=["loss"])
        assert run(job, data=rows, out=tmp_path / tuning["kind"]).summary["rounds"] == 1
