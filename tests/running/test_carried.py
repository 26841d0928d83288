"""What exceeds the rank, through a whole run: it is carried beside the trained factors, and joined with them in the end."""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tuning_shapes import LABELS, logits

from fedtailor.errors import SettingError
from fedtailor.export import export, open_run
from fedtailor.running import run

CLASSES = {"kind": "classification", "labels": list(LABELS)}
RULES = {"fedex-lora": {"kind": "fedex-lora", "carry": 12}, "flora": {"kind": "flora", "carry": 12}}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
SHAPES = ("tiny_backbone_folder", "tiny_gpt2_folder", "tiny_bert_folder")


def job_of(make_job, rule, **changes):
    return make_job(protocol__aggregation=rule, evaluation__generate__max_new_tokens=3, **changes)


def final(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


@pytest.mark.few(2)
@every_rule
def test_resumed_equals_unbroken_and_training_helps(rule, make_job, rows, tmp_path):
    run(job_of(make_job, rule, stop__rounds=3), data=rows, out=tmp_path / "whole")
    run(job_of(make_job, rule, stop__rounds=1), data=rows, out=tmp_path / "parts")
    summary = run(job_of(make_job, rule, stop__rounds=3), data=rows, resume=tmp_path / "parts").summary
    whole, parts = final(tmp_path / "whole"), final(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    left, right = (pd.read_parquet(tmp_path / side / "rounds.parquet") for side in ("whole", "parts"))
    for name in ("validation_loss", "bias", "carry_error"):
        assert left[name].tolist() == right[name].tolist()
    assert summary["metrics"]["after"]["loss"] < summary["metrics"]["before"]["loss"]
    assert left["bias"].tolist()[0] < 1e-6  # 4 clients of rank 2 fit into 12


@every_rule
def test_what_is_carried_goes_down_only_and_is_reported(rule, make_job, rows, tmp_path):
    run(job_of(make_job, rule, stop__rounds=2, stop__keep="last"), data=rows, out=tmp_path / "r")
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    up, down = (manifest[way]["train"]["tensors"] for way in ("up", "down"))
    carried = {name for name in down if ".carried_" in name}
    assert len(carried) == 8  # A and B of query and value in two layers
    assert down.keys() - up.keys() == carried
    assert {down[name]["shape"][0] for name in carried if "carried_A" in name} == {12}
    shared = load_file(tmp_path / "r" / "checkpoint" / "000002" / "shared.safetensors")
    assert all(shared[name].abs().max() > 0 for name in carried)
    if rule["kind"] == "flora":
        assert all(t.abs().max() == 0 for name, t in shared.items() if "lora_B" in name)
    first = load_file(tmp_path / "r" / "checkpoint" / "000001" / "shared.safetensors")
    redrawn = [not torch.equal(first[name], shared[name]) for name in shared if "lora_A" in name]
    assert all(redrawn)


@pytest.mark.few(2)
@every_rule
@pytest.mark.parametrize("shape", SHAPES)
def test_the_result_is_one_plain_adapter_that_peft_loads(rule, shape, make_job, rows, tmp_path, *, request):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    folder, bert = request.getfixturevalue(shape), "bert" in shape
    job = job_of(make_job, rule, stop__rounds=2, stop__keep="last").replace("backbone", str(folder))
    job = job.replace("personalization", {"kind": "finetune", "steps": 1, "keep": "last"})
    if bert:
        job = job.replace("task", CLASSES)
        rows = [{"text": row["input"], "label": LABELS[i % 3]} for i, row in enumerate(rows)]
    run(job, data=rows, out=tmp_path / "run")
    done = open_run(tmp_path / "run")
    wanted = logits(done.model)
    config = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert 2 < config["r"] <= 14
    assert config["lora_alpha"] == config["r"]
    auto, more = (AutoModelForSequenceClassification, {"num_labels": 3}) if bert else (AutoModelForCausalLM, {})
    for form in ("peft", "merged"):
        out = export(tmp_path / "run", to=form, folder=tmp_path / form)
        model = auto.from_pretrained(folder if form == "peft" else out, **more)
        model = PeftModel.from_pretrained(model, out) if form == "peft" else model
        torch.testing.assert_close(logits(model.eval()), wanted, atol=1e-5, rtol=0)
    shared = load_file(tmp_path / "run" / "checkpoint" / "000002" / "shared.safetensors")
    adapter = final(tmp_path / "run")
    for name, b in shared.items():  # 4 / 2 is alpha / rank of the trained factors; what is carried counts 1
        if name.endswith("lora_B.weight"):
            module = name.removesuffix(".lora_B.weight")
            carried = shared[f"{module}.carried_B.weight"] @ shared[f"{module}.carried_A.weight"]
            want = 2 * b @ shared[f"{module}.lora_A.weight"] + carried
            got = adapter[f"{module}.lora_B.weight"] @ adapter[f"{module}.lora_A.weight"]
            torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
            assert want.abs().max() > 1e-4
    own = tmp_path / "run" / "clients" / "client-00" / "adapter"
    model = PeftModel.from_pretrained(auto.from_pretrained(folder, **more), own).eval()
    assert not torch.allclose(logits(model), wanted, atol=1e-4)


def test_a_small_rank_is_cut_back_and_the_loss_is_reported(make_job, rows, tmp_path):
    for carry in (1, 16):
        rule = {"kind": "flora", "carry": carry}
        run(job_of(make_job, rule, stop__rounds=2, stop__keep="last"), data=rows, out=tmp_path / str(carry))
    small, large = (pd.read_parquet(tmp_path / str(carry) / "rounds.parquet") for carry in (1, 16))
    assert (small["carry_error"] > 0.01).all()
    assert (large["carry_error"] < 1e-6).all()
    assert (small["down_bytes"] < large["down_bytes"]).all()
    assert (small["up_bytes"] - large["up_bytes"]).abs().max() < 100  # figures are told in more or less digits


@every_rule
def test_one_client_alone_trains_as_with_the_mean(rule, make_job, rows, tmp_path):
    # the mean of one is its own weights, and what FLoRA carries has the same product: after one round the model is the same
    changes = {"clients__count": 1, "stop__rounds": 1, "stop__keep": "last"}
    losses = [
        run(job_of(make_job, each, **changes), data=rows, out=tmp_path / each["kind"]).summary["metrics"]["after"]["loss"]
        for each in (rule, {"kind": "fedavg"})
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@every_rule
def test_the_bits_on_the_wire_may_be_half(rule, make_job, rows, tmp_path):
    summary = run(job_of(make_job, rule, stop__rounds=2, protocol__wire="bfloat16"), data=rows, out=tmp_path / "r").summary
    assert summary["metrics"]["after"]["loss"] < summary["metrics"]["before"]["loss"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"protocol__aggregation": {"kind": "flora", "carry": 0}}, r"carry is the rank.*got 0.*16 to 256"),
        ({"tuning": {"kind": "prompt", "length": 3}}, r"flora does not go with tuning: prompt.*tuning: lora.*fedavg"),
        ({"personalization": {"kind": "ditto"}}, r"flora does not go with personalization: ditto.*finetune.*lora-fair"),
        ({"personalization": {"kind": "fedsa-lora"}}, r"flora does not go with personalization: fedsa-lora"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(changes, text, make_job, rows, tmp_path):
    changes = {"protocol__aggregation": RULES["flora"], **changes}
    with pytest.raises(SettingError, match=text):
        run(make_job(**changes), data=rows, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()
