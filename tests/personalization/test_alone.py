"""Local-only: what each client reaches without the federation, beside what personalization gave it."""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fedtailor.errors import ResumeError
from fedtailor.learning.store import Store
from fedtailor.report import read_run, show
from fedtailor.running import run
from fedtailor.studies.baselines import run_baseline

LOCAL = {"personalization": {"kind": "finetune", "steps": 1}, "evaluation__local_only": True}


@pytest.mark.few(3)
@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"protocol__local__proximal": 0.1, "protocol__local__keep_optimizer": True, "protocol__local__schedule": "cosine"},
        {"protocol__aggregation": {"kind": "ffa-lora"}},
        {"personalization": "fedsa-lora"},
        {"tuning": {"kind": "prefix", "length": 3, "hidden": 8, "exchange": "refit"}},
    ],
    ids=["plain", "settings", "ffa", "home", "refit"],
)
def test_it_is_the_baseline_local(make_job, rows, tmp_path, changes, keep):
    """The baseline runs a federation of one for each client, by other code: the same figures, and the base is what it began with."""
    job = make_job(**{**LOCAL, "stop__keep": keep, **changes})
    data = {"train": rows, "test": rows[:3]}
    told = run(job, data=data, out=tmp_path / "r").summary["personal"]
    other = run_baseline(job, "local", data=data, out=tmp_path / "b").summary
    assert told["local"]["mean"] == pytest.approx(other["clients"]["mean"], rel=1e-5)
    assert told["local"]["worst"] == pytest.approx(other["clients"]["worst"], rel=1e-5)
    assert told["local_public"]["mean"]["loss"] == pytest.approx(other["metrics"]["after"]["loss"], rel=1e-5)
    assert told["local"]["mean"]["loss"] != pytest.approx(told["global"]["mean"]["loss"], rel=1e-5)
    if keep == "last":
        assert told["local_cost"]["flops"] == other["flops"]["client_total"]


def test_what_it_costs_goes_by_each_clients_own_sizes(make_job, rows, tmp_path):
    own = {"client-01": {"tuning": {"rank": 1}}, "client-02": {"tuning": {"rank": 2}}}
    job = make_job(
        **{**LOCAL, "stop__keep": "last", "stop__rounds": 1},
        tuning__rank=8,
        protocol__aggregation={"kind": "flexlora"},
        clients__overrides=own,
    )
    cost = run(job, data=rows, out=tmp_path / "r").summary["personal"]["local_cost"]
    assert cost["flops"] == run_baseline(job, "local", data=rows, out=tmp_path / "b").summary["flops"]["client_total"]


def test_it_changes_nothing_else(make_job, rows, tmp_path):
    both = {}
    for name, alone in (("with", True), ("without", False)):
        folder = tmp_path / name
        summary = run(make_job(**{**LOCAL, "evaluation__local_only": alone}), data=rows, out=folder).summary
        own = {file.parts[-3]: load_file(file) for file in sorted(folder.glob("clients/*/adapter/adapter_model.safetensors"))}
        both[name] = (own, {key: summary[key] for key in ("metrics", "flops", "clients")}, summary["personal"])
    (own, told, personal), (other_own, other_told, other_personal) = both["with"], both["without"]
    assert told == other_told
    assert all(torch.equal(own[client][name], other_own[client][name]) for client in own for name in own[client])
    assert personal.keys() - other_personal.keys() == {"local", "local_cost"}
    assert not (tmp_path / "without" / "checkpoint" / "start.safetensors").exists()
    manifest = json.loads((tmp_path / "with" / "manifest.json").read_text())
    assert manifest["up"]["alone"]["tensors"] == {}
    assert "alone" not in json.loads((tmp_path / "without" / "manifest.json").read_text())["up"]


def test_it_is_shown_and_stands_in_the_table(make_job, rows, tmp_path):
    from rich.console import Console

    told = run(make_job(**LOCAL), data=rows, out=tmp_path / "r").summary["personal"]
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(show(read_run(tmp_path / "r")))
    text = console.export_text()
    assert "local-only" in text
    assert f"{told['local']['worst']['perplexity']:,.1f}" in text
    table = pd.read_parquet(tmp_path / "r" / "evaluations.parquet")
    found = table[(table["scope"] == "local") & (table["metric"] == "loss")].set_index("client")["value"].to_dict()
    assert found == {client: of["local"]["loss"] for client, of in told["clients"].items()}


def test_a_run_that_was_interrupted_while_clients_train_alone_ends_with_the_same_figures(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.protocols import alone

    whole = run(make_job(**LOCAL), data=rows, out=tmp_path / "whole").summary
    answer, calls = alone.answer_alone, []

    def cut(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answer(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(alone, "answer_alone", cut)
        with pytest.raises(KeyboardInterrupt):
            run(make_job(**LOCAL), data=rows, out=tmp_path / "cut")
    resumed = run(make_job(**LOCAL), data=rows, resume=tmp_path / "cut").summary
    for figures in (whole, resumed):
        figures["personal"].pop("local_cost")
    assert resumed["personal"] == whole["personal"]


def test_a_client_that_fails_is_left_out_of_its_column(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.protocols import alone

    answer = alone.answer_alone

    def fail(local, client, *args, **kwargs):
        if client.id.endswith("2"):
            raise MemoryError
        return answer(local, client, *args, **kwargs)

    monkeypatch.setattr(alone, "answer_alone", fail)
    told = run(make_job(**LOCAL, stop__rounds=1), data=rows, out=tmp_path / "r").summary["personal"]
    assert sum("loss" in of["local"] for of in told["clients"].values()) == 3
    assert len(told["clients"]) == 4


def test_a_damaged_start_is_reported(make_job, rows, tmp_path, monkeypatch):
    def killed(self, *given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_model", killed)
        with pytest.raises(KeyboardInterrupt):
            run(make_job(**LOCAL, stop__rounds=1), data=rows, out=tmp_path / "r")
    start = tmp_path / "r" / "checkpoint" / "start.safetensors"
    start.write_bytes(start.read_bytes()[:-1] + b"x")
    with pytest.raises(ResumeError, match="before round 1"):
        run(make_job(**LOCAL, stop__rounds=1), data=rows, resume=tmp_path / "r")


def test_without_personalization_a_warning_names_the_baseline(make_job, rows, tmp_path):
    heard = []
    run(
        make_job(evaluation__local_only=True, stop__rounds=1),
        data=rows,
        out=tmp_path / "r",
        watcher=lambda kind, facts: heard.append(facts.get("text", "")) if kind == "warning" else None,
    )
    assert any("--baseline local" in text for text in heard)
