"""Clients with tasks of their own: through whole runs, resumed, over a line, shown, and refused."""

import json

import pandas as pd
import pytest
import torch
from jobs import assert_same_adapter, tiny_rows
from of_tasks import INTENT, INTENTS, LINES, of_tasks, of_three

from fedtailor.assembly import assemble
from fedtailor.cli.plan import plan_of
from fedtailor.errors import DataError, SettingError
from fedtailor.learning.store import Store
from fedtailor.report.read import read_run
from fedtailor.running import run
from fedtailor.studies.baselines import run_baseline
from fedtailor.studies.sweep_figures import cell_figures


@pytest.fixture
def job_of(tiny_backbone_folder):
    return lambda **changes: of_tasks(tiny_backbone_folder, **changes)


def test_each_client_trains_and_is_measured_by_its_task(job_of, tmp_path):
    done = run(job_of(), data=of_three(), out=tmp_path / "r")
    tasks = done.summary["tasks"]
    assert {name: of["clients"] for name, of in tasks.items()} == {
        "generation": ["menus"],
        "generation (bank)": ["bank"],
        "language-modeling": ["prose"],
    }
    figures = {name: set(of["after"]) for name, of in tasks.items()}
    assert {"bleu", "rouge1"} <= figures["generation"] & figures["generation (bank)"]
    assert not {"bleu", "rouge1"} & figures["language-modeling"]
    assert "perplexity" in figures["language-modeling"]
    rows = pd.read_parquet(tmp_path / "r" / "evaluations.parquet")
    own = rows[(rows["scope"] == "client") & (rows["client"] == "bank") & (rows["metric"] == "rouge1")]
    assert own["value"].iloc[0] == tasks["generation (bank)"]["before"]["rouge1"]
    assert done.summary["metrics"]["after"]["loss"] < done.summary["metrics"]["before"]["loss"]
    assert all(of["after"]["loss"] != of["before"]["loss"] for of in tasks.values())
    rounds = pd.read_parquet(tmp_path / "r" / "rounds.parquet")
    pairs = [name for name in rounds if name.startswith("task_cosine: ")]
    assert len(pairs) == 3
    torch.testing.assert_close(torch.tensor(rounds[pairs].mean(axis=1)), torch.tensor(rounds["task_cosine"]))
    assert cell_figures(done.summary)["rouge1_of_generation (bank)"] == tasks["generation (bank)"]["after"]["rouge1"]

    from rich.console import Console

    from fedtailor.report import compare
    from fedtailor.report.run.tables import show

    console = Console(width=200, record=True)
    console.print(show(read_run(tmp_path / "r")))
    shown = console.export_text()
    assert "generation (bank): ROUGE-1" in shown
    assert "generation: BLEU" in shown
    assert "task cosine" in shown
    assert "  bank  " in shown  # which client has which task
    console.print(compare([read_run(tmp_path / "r")] * 2))
    assert "generation (bank)" in console.export_text()
    rows = {(row["what"], row["of"]): row for row in done.summary["plan"]["rows"]}
    assert rows["bytes", "evaluate"]["ratio"] == pytest.approx(1, abs=0.015)  # a client of lines is not asked for texts


def test_what_personal_training_takes_is_more_than_the_plan_and_not_off_it(job_of, tmp_path):
    done = run(job_of(personalization={"kind": "finetune"}, evaluation__local_only=True), data=of_three(), out=tmp_path / "r")
    rows = {(row["what"], row["of"]): row for row in done.summary["plan"]["rows"]}
    assert rows["operations", "train"]["ratio"] > 1.1
    assert rows["operations", "train"]["within"]
    ratios = [rows["bytes", kind]["ratio"] for kind in ("personalize", "alone")]
    assert ratios == pytest.approx([1, 1], abs=0.03)  # figures of 0.0 have fewer digits than usual


def test_check_names_the_clients_of_each_task(job_of):
    parts = assemble(job_of(), given=of_three())
    settings = dict(plan_of(parts.job, parts, []).settings)
    assert (settings["task"], settings["of bank"], settings["of prose"]) == (
        "generation",
        "generation (bank)",
        "language-modeling",
    )


class Killed(BaseException):
    """Goes through every handler of faults, as a kill does."""


def test_resumed_equals_unbroken(job_of, tmp_path, monkeypatch):
    job = job_of(protocol__local__keep_optimizer=True, personalization={"kind": "finetune", "keep": "last"}, stop__keep="last")
    whole = run(job, data=of_three(), out=tmp_path / "whole")
    keep, calls = Store.keep, []

    def killed(self, *args):
        keep(self, *args)
        calls.append(1)
        if len(calls) == 5:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Store, "keep", killed)
        with pytest.raises(Killed):
            run(job, data=of_three(), out=tmp_path / "cut")
    resumed = run(job, data=of_three(), resume=tmp_path / "cut")
    assert_same_adapter(whole.folder, resumed.folder)
    assert resumed.summary["tasks"] == whole.summary["tasks"]
    assert "personal" in whole.summary["tasks"]["generation"]


def test_files_are_read_by_the_columns_of_each_task(job_of, tmp_path):
    for name, rows in of_three().items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [f"{name}.jsonl" for name in of_three()]
    job = job_of(data__train=files, clients__partition={"kind": "files"}, stop__rounds=1).replace("base", str(tmp_path))
    from_files, given = assemble(job), assemble(job_of(stop__rounds=1), given=of_three())
    for client in of_three():
        assert [e.fields for e in from_files.divided.train[client]] == [e.fields for e in given.divided.train[client]]
    assert {e.fields["target"] for e in from_files.divided.train["bank"]} == set(INTENTS)
    assert from_files.clients["bank"].worker.model is from_files.worker.model


def test_alone_each_keeps_its_task_and_in_one_place_they_do_not_fit(job_of, tmp_path):
    job = job_of(stop__rounds=1, evaluation__metrics=["loss"])
    summary = run_baseline(job, "local", data=of_three(), out=tmp_path / "local").summary
    assert summary["clients"]["count"] == 3
    with pytest.raises(SettingError, match="baseline central trains one task in one place, and bank has one of its own"):
        run_baseline(job, "central", data=of_three(), out=tmp_path / "central")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"protocol": {"kind": "split", "cut": 1}},
            r"protocol: split does not go with clients.overrides of tasks: client and server",
        ),
        (
            {"protocol": {"kind": "distillation", "public": "p.jsonl"}},
            r"protocol: distillation does not go with clients.overrides of tasks: its public examples",
        ),
        ({"personalization": {"kind": "feddpa"}}, r"personalization: feddpa does not go with clients.overrides of tasks"),
        (
            {"clients__overrides": {"bank": {"task": {"kind": "classification"}}}},
            r"clients.overrides.bank.task is classification, which needs a classifier backbone, and task: generation a causal one",
        ),
        ({"clients__overrides": {"bank": {"task": {"kind": "generatoin"}}}}, r"generation"),
        (
            {"clients__overrides": {"bank": {"task": {"kind": "generation", "max_token": 5}}}},
            r"did you mean max_tokens|max_tokens",
        ),
        (
            {"clients__overrides": {"bank": {"task": {"kind": "label-likelihood"}}}},
            r"clients.overrides.bank.task: label-likelihood does not go with protocol: averaging",
        ),
        (
            {"clients__overrides": {"bank": {"task": {"kind": "classification"}}}},
            r"such as generation with the class as its target",
        ),
        (
            {"clients__overrides": {"bank": {"columns": {"input": "text"}}}},
            r"clients.overrides.bank.columns goes with a task of its own",
        ),
        ({"evaluation__metrics": ["rouge3"]}, r"did you mean rouge"),
    ],
)
def test_what_cannot_have_several_is_refused(changes, text, job_of):
    with pytest.raises(SettingError, match=text):
        job_of(**changes)


def test_tasks_need_data_that_are_apart_and_clients_that_are_there(job_of, tmp_path):
    with pytest.raises(SettingError, match=r"clients\.overrides\.bank\.task needs data of its own at each client"):
        run(job_of(), data=tiny_rows(), out=tmp_path / "r")
    with pytest.raises(SettingError, match="names 'banks', and there is no such client; the clients are bank, menus, prose"):
        run(job_of(clients__overrides={"banks": {"task": INTENT}}), data=of_three(), out=tmp_path / "r")
    with pytest.raises(DataError, match=r"say which column it is: clients\.overrides\.bank\.columns"):
        run(job_of(clients__overrides={"bank": {"task": INTENT}, "prose": {"task": LINES}}), data=of_three(), out=tmp_path / "r")
    everybody = {name: {"task": INTENT} for name in of_three()}
    with pytest.raises(SettingError, match="gives every client a task of its own"):
        run(job_of(clients__overrides=everybody), data=of_three(), out=tmp_path / "r")
