"""One small run with the real SmolLM2: it learns, its ledger is true, and its result is standard."""

import pandas as pd
import pytest
import torch
from jobs import tiny_rows

from fedtailor import Job, run
from fedtailor.errors import BackboneError
from fedtailor.models import describe_backbone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    from pathlib import Path

    try:
        describe_backbone("smollm2-135m", Path())
    except BackboneError as error:
        pytest.skip(str(error))
    job = Job.from_dict(
        {
            "name": "real",
            "backbone": "smollm2-135m",
            "task": {"kind": "generation"},
            "data": {"train": "given-in-memory.jsonl"},
            "clients": {"count": 2, "min_examples": 4},
            "protocol": {"kind": "averaging", "local": {"steps": 3, "batch_size": 4, "learning_rate": 3e-3}},
            "evaluation": {"metrics": ["loss"]},
            "stop": {"rounds": 2},
            "precision": "float32",
        }
    )
    return run(job, data=tiny_rows(), out=tmp_path_factory.mktemp("real") / "run")


def test_it_learns(result):
    metrics = result.summary["metrics"]
    assert metrics["after"]["loss"] < 0.8 * metrics["before"]["loss"]


def test_an_update_is_as_long_as_its_weights(result):
    clients = pd.read_parquet(result.folder / "clients.parquet")
    assert result.summary["trainable_parameters"] == 460_800
    weights = 460_800 * 4
    assert ((clients["up_bytes"] - weights).abs() <= 0.02 * weights).all()
    assert clients["up_bytes"].sum() == result.summary["traffic"]["by_kind"]["train"]["up_bytes"]


def test_adapter_and_merged_export_load_outside_fedtailor(result, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from fedtailor.export import export

    ours = result.model().eval()
    base = AutoModelForCausalLM.from_pretrained(describe_backbone("smollm2-135m", tmp_path).folder, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, str(result.folder / "adapter")).eval()
    merged = AutoModelForCausalLM.from_pretrained(export(result.folder, to="merged", folder=tmp_path / "m"), dtype=torch.float32)
    ids = torch.tensor([[1, 504, 253, 1042, 7089, 314, 260]])
    with torch.no_grad():
        logits = [model(input_ids=ids).logits for model in (ours, theirs, merged.eval())]
    assert (logits[0] - logits[1]).abs().max() <= 1e-5
    assert (logits[0] - logits[2]).abs().max() <= 1e-3 * logits[0].abs().max()  # merging rounds W + BA once
