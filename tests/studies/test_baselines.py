"""Baselines on the same job."""

import pandas as pd
import pytest

from fedtailor.errors import JobError
from fedtailor.studies.baselines import run_baseline


@pytest.mark.parametrize(("kind", "steps"), [("central", 8 * 3), ("central-steps", 3)])
def test_central_sees_as_much_as_the_federation(make_job, rows, tmp_path, kind, steps):
    job = make_job(protocol__local__steps=3, stop__rounds=2, clients__count=8, clients__min_examples=2)
    result = run_baseline(job, kind, data=rows, out=tmp_path / "r")
    clients = pd.read_parquet(tmp_path / "r" / "clients.parquet")
    assert set(clients["client"]) == {"central"}
    assert list(clients["steps"]) == [steps] * 2
    assert result.summary["baseline"] == kind
    assert result.summary["clients"]["count"] == 8


def test_alone_each_client_has_a_model_of_its_own_and_sends_nothing(make_job, rows, tmp_path):
    result = run_baseline(make_job(stop__rounds=2), "local", data=rows, out=tmp_path / "r")
    assert result.summary["traffic"]["up_bytes"] == 0
    assert result.summary["clients"]["count"] == 4
    folders = sorted((tmp_path / "r" / "clients").glob("*/alone/adapter"))
    assert len(folders) == 4
    own = [pd.read_json(folder.parent / "summary.json", typ="series")["metrics"]["after"]["loss"] for folder in folders]
    assert len(set(own)) == 4
    assert result.summary["clients"]["worst"]["loss"] == pytest.approx(max(own))


def test_k_clients_of_one_step_are_one_central_step(make_job, rows, tmp_path):
    """(a): one SGD step of each client, weighted by counted targets, is one step on all their batches together."""
    from fedtailor.running import run

    settings = {
        "optimizer": "sgd", "learning_rate": 0.5, "steps": 1, "batch_size": 64, "clip_norm": None,
    }  # fmt: skip
    changes = {f"protocol__local__{name}": value for name, value in settings.items()}
    job = make_job(**changes, protocol__weights="targets", stop__rounds=1, stop__keep="last", tuning__dropout=0.0)
    run(job, data=rows, out=tmp_path / "f")
    run_baseline(job, "central-steps", data=rows, out=tmp_path / "c")
    from safetensors.torch import load_file

    left, right = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in "fc")
    assert max(float((left[name] - right[name]).abs().max()) for name in left) <= 1e-6
    assert max(float(left[name].abs().max()) for name in left if "lora_B" in name) > 1e-3  # it did move


def test_an_unknown_baseline_is_refused(make_job, rows, tmp_path):
    with pytest.raises(JobError, match="central"):
        run_baseline(make_job(), "centre", data=rows, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_an_owner_may_be_called_central(make_job, rows, tmp_path):
    named = [{**row, "owner": "central" if number % 2 else "other"} for number, row in enumerate(rows)]
    job = make_job(clients__partition={"kind": "natural", "by": "owner"}, clients__count=None, stop__rounds=1)
    result = run_baseline(job, "central", data=named, out=tmp_path / "c")
    assert result.summary["clients"]["count"] == 2
    trained = pd.read_parquet(tmp_path / "c" / "clients.parquet")
    assert set(trained["client"]) == {"central-"}
    assert trained["examples"].item() > len(rows) / 3  # of both owners' training parts
