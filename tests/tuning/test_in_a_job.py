"""Every tuning through a whole run: resumed equals unbroken, texts are written, and the result is exported and loaded."""

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tuning_shapes import FOLDERS, LABELS, logits

from fedtailor.errors import SettingError
from fedtailor.export import export, open_run
from fedtailor.running import run

KINDS = {
    "lora": {"kind": "lora", "rank": 2, "dropout": 0.1},
    "fed-sb": {"kind": "fed-sb", "rank": 4, "alpha": 4, "dropout": 0.1},
    "full": {"kind": "full"},
    "adapter": {"kind": "adapter", "width": 4, "placement": "houlsby", "dropout": 0.1},
    "prefix": {"kind": "prefix", "length": 3, "hidden": 8},
    "prefix-vectors": {"kind": "prefix", "length": 3, "hidden": 8, "exchange": "prefix"},
    "prefix-refit": {"kind": "prefix", "length": 3, "hidden": 8, "exchange": "refit"},
    "prompt": {"kind": "prompt", "length": 3},
    "peft": {"kind": "peft", "type": "LOHA", "arguments": {"r": 2}},
}
FORMS = {
    "lora": ["merged", "peft"],
    "fed-sb": ["merged", "peft"],
    "full": ["merged"],
    "adapter": ["adapter"],
    "prefix": ["peft"],
    "prompt": ["peft"],
    "peft": ["merged", "peft"],
}
CLASSES = {"kind": "classification", "labels": list(LABELS)}
PAIRS = [(name, shape) for name in KINDS for shape in FOLDERS if (name, shape) != ("peft", "gpt2")]
every_pair = pytest.mark.parametrize("pair", PAIRS, ids="-".join)


def result(folder):
    files = sorted([*folder.glob("adapter/*.safetensors"), *folder.glob("model/*.safetensors")])
    return {f"{path.name}:{name}": value for path in files for name, value in load_file(path).items()}


def change(make_job, name, folder=None, **more):
    job = make_job(protocol__local__keep_optimizer=True, evaluation__generate__max_new_tokens=3, **more)
    return (job.replace("backbone", str(folder)) if folder else job).replace("tuning", KINDS[name])


def job_and_rows(make_job, pair, rows, request, **more):
    """Return a job of a tuning on a shape of model, with examples that go with it."""
    name, shape = pair
    job = change(make_job, name, request.getfixturevalue(FOLDERS[shape]), **more)
    if shape != "bert":
        return job, rows
    return job.replace("task", CLASSES), [{"text": row["input"], "label": LABELS[i % 3]} for i, row in enumerate(rows)]


@pytest.mark.few(4)
@every_pair
def test_resumed_equals_unbroken_and_training_helps(pair, make_job, rows, tmp_path, request):
    job, rows = job_and_rows(make_job, pair, rows, request, stop__rounds=3, stop__keep="last")
    run(job, data=rows, out=tmp_path / "whole")
    run(job.replace("stop.rounds", 1), data=rows, out=tmp_path / "parts")
    run(job, data=rows, resume=tmp_path / "parts")
    whole, parts = result(tmp_path / "whole"), result(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert whole
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    left, right = (
        pd.read_parquet(tmp_path / side / "rounds.parquet")[["train_loss", "validation_loss"]] for side in ("whole", "parts")
    )
    assert left.equals(right)
    assert left["train_loss"].iloc[-1] < left["train_loss"].iloc[0]


@pytest.mark.parametrize("name", [name for name in KINDS if name.startswith("prefix")])
def test_cosines_of_prefixes_are_reported_and_stand_a_stop(name, make_job, rows, tmp_path):
    run(change(make_job, name, stop__rounds=2), data=rows, out=tmp_path / "whole")
    run(change(make_job, name, stop__rounds=1), data=rows, out=tmp_path / "parts")
    run(change(make_job, name, stop__rounds=2), data=rows, resume=tmp_path / "parts")
    figures = ["prefix_cosine", "prefix_cosine_layer_00", "prefix_cosine_layer_01"]
    for table in ("rounds", "clients"):
        whole, parts = (pd.read_parquet(tmp_path / side / f"{table}.parquet") for side in ("whole", "parts"))
        assert whole[figures].equals(parts[figures])
        assert whole[figures].to_numpy().min() > 0
        assert whole[figures].to_numpy().max() < 1
    clients, rounds = (pd.read_parquet(tmp_path / "whole" / f"{table}.parquet") for table in ("clients", "rounds"))
    assert clients.groupby("round")["prefix_cosine"].mean().tolist() == pytest.approx(rounds["prefix_cosine"].tolist())


@pytest.mark.few(4)
@every_pair
def test_what_a_run_made_is_exported_and_loads_without_a_run(pair, make_job, rows, tmp_path, request):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    from fedtailor.tuning import load_adapter

    name, shape = pair
    folder, bert = request.getfixturevalue(FOLDERS[shape]), shape == "bert"
    job, rows = job_and_rows(make_job, pair, rows, request, stop__rounds=1, stop__keep="last")
    run(job, data=rows, out=tmp_path / "run")
    done = open_run(tmp_path / "run")
    wanted = logits(done.model)
    auto, more = (AutoModelForSequenceClassification, {"num_labels": 3}) if bert else (AutoModelForCausalLM, {})
    kind = KINDS[name]["kind"]
    for form in FORMS[kind]:
        out = export(tmp_path / "run", to=form, folder=tmp_path / form)
        assert (out / "README.md").is_file()
        if form == "merged":
            model = auto.from_pretrained(out)
        else:
            loader = load_adapter if form == "adapter" else PeftModel.from_pretrained
            model = loader(auto.from_pretrained(folder, **more), out)
        torch.testing.assert_close(logits(model.eval()), wanted, atol=1e-5, rtol=0)
        assert not (out / "prefix_network.safetensors").exists()
    for form in {"merged", "peft", "adapter"} - set(FORMS[kind]):
        with pytest.raises(SettingError, match=f"to {form} and tuning {kind} do not go together.*--to {FORMS[kind][0]}"):
            export(tmp_path / "run", to=form, folder=tmp_path / "no")
    base = auto.from_pretrained(folder, **more).eval()
    with done.untuned() as before:
        if not bert:  # the random head of a classifier comes from the job's seed
            torch.testing.assert_close(logits(before), logits(base), atol=1e-5, rtol=0)
        assert not torch.allclose(logits(before), wanted, atol=1e-6)


def test_prefixes_that_are_refitted_cost_the_bytes_of_vectors(make_job, rows, tmp_path):
    sent = {}
    for name in ("prefix", "prefix-vectors", "prefix-refit"):
        summary = run(change(make_job, name, stop__rounds=1), data=rows, out=tmp_path / name).summary
        sent[name] = summary["traffic"]["by_kind"]["train"]["up_bytes"], summary["trainable_parameters"]
    # 4 clients, one round; 3 * 32 vectors of 4 bytes against a network of 48 + 136 + 288 = 472 weights; then each message's header
    assert sent["prefix"][1] == sent["prefix-refit"][1] == 472
    assert sent["prefix-vectors"][1] == 96
    assert (
        abs(sent["prefix-refit"][0] - sent["prefix-vectors"][0]) < 4 * 100
    )  # seconds and losses are told in more or less digits
    assert sent["prefix"][0] - sent["prefix-refit"][0] > 4 * 4 * (472 - 96)


def test_corrections_of_gradients_see_the_trained_weights_whatever_is_exchanged(make_job, rows, tmp_path):
    for proximal in (0.0, 100.0):
        job = change(make_job, "prefix-refit", stop__rounds=1, stop__keep="last", protocol__local__proximal=proximal)
        run(job, data=rows, out=tmp_path / str(proximal))
    free, held = (pd.read_parquet(tmp_path / side / "rounds.parquet")["update_norm"].item() for side in ("0.0", "100.0"))
    assert held < free


def test_a_pair_that_makes_no_sense_stops_before_anything_is_written(make_job, rows, tiny_gpt2_folder, tmp_path):
    job = change(make_job, "peft", tiny_gpt2_folder)
    with pytest.raises(SettingError, match="type LOHA and a GPT2LMHeadModel do not go together"):
        run(job, data=rows, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()
