"""The loss on general text, before and after: of shared and personal weights, resumed, shown, and refused."""

import json

import pandas as pd
import pytest

from fedtailor.assembly.retained import load_retained
from fedtailor.errors import DataError, SettingError
from fedtailor.report.read import read_run
from fedtailor.running import run
from fedtailor.studies.baselines import run_baseline
from fedtailor.studies.sweep_figures import cell_figures

TEXT = "A river runs to the sea, and nobody sells coffee there.\n" * 40


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "general.txt"
    file.write_text(TEXT)
    return str(file)


def test_shared_and_personal_weights_are_measured_on_the_same_tokens(text, make_job, rows, tmp_path, capsys):
    from fedtailor.assembly import assemble
    from fedtailor.report.run.tables import show

    job = make_job(
        evaluation__retained=text,
        evaluation__retained_tokens=300,
        evaluation__local_only=True,
        personalization={"kind": "finetune", "keep": "last", "learning_rate": 0.05},
        stop__rounds=2,
        stop__keep="last",
    )
    result = run(job, data=rows, out=tmp_path / "r")
    retained, personal = result.summary["retained"], result.summary["personal"]
    parts = assemble(job, given=rows)
    held = parts.clients.retained
    assert retained["tokens"] == held.counted
    assert 300 <= retained["tokens"] <= 300 + 128
    assert retained["before"]["loss"] == pytest.approx(held.loss(parts.worker))  # of the weights as they are attached
    assert retained["after"]["loss"] != retained["before"]["loss"]
    assert set(personal["clients"]["client-00"]["retained"]) == {"loss"}
    assert len({own["retained"]["loss"] for own in personal["clients"].values()}) == 4  # each has weights of its own
    mean = sum(own["retained"]["loss"] for own in personal["clients"].values()) / 4
    assert personal["retained"]["mean"]["loss"] == pytest.approx(mean)
    table = pd.read_parquet(tmp_path / "r" / "evaluations.parquet").groupby("scope").size()
    assert (table["retained"], table["personal-retained"], table["local-retained"]) == (2, 4, 4)
    figures = cell_figures(result.summary)
    assert figures["loss_retained"] == retained["after"]["loss"]
    assert figures["loss_personal_retained"] == pytest.approx(mean)

    from rich.console import Console

    console = Console(width=160, record=True)
    console.print(show(read_run(tmp_path / "r")))
    shown = console.export_text()
    assert shown.count("loss on general text") == 2  # of the run, and of personal models
    assert f"{retained['after']['loss']:.3f}"[:4] in shown


def test_resumed_equals_unbroken(text, make_job, rows, tmp_path, monkeypatch):
    from fedtailor.running import drive

    job = make_job(evaluation__retained=text, stop__rounds=2)
    whole = run(job, data=rows, out=tmp_path / "whole")

    def broken(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(drive, "finish", broken)
        with pytest.raises(KeyboardInterrupt):
            run(job, data=rows, out=tmp_path / "cut")
    resumed = run(job, data=rows, resume=tmp_path / "cut")
    assert resumed.summary["retained"] == whole.summary["retained"]


def test_a_baseline_has_it_too(text, make_job, rows, tmp_path):
    job = make_job(evaluation__retained=text, stop__rounds=1, clients__count=2)
    alone = run_baseline(job, "local", data=rows, out=tmp_path / "local").summary
    each = [
        json.loads(file.read_text())["retained"]["after"]["loss"] for file in tmp_path.glob("local/clients/*/alone/summary.json")
    ]
    assert alone["retained"]["after"]["loss"] == pytest.approx(sum(each) / 2)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, r"evaluation\.retained: there is no file .*missing\.txt"),
        ("\n\n", r"evaluation\.retained.*(no text|no rows|blank)"),
        ("x" * 0, r"no rows|no text"),
    ],
)
def test_a_file_that_is_no_text_is_named(content, found, make_job, rows, tmp_path):
    file = tmp_path / ("missing.txt" if content is None else "there.txt")
    if content is not None:
        file.write_text(content)
    with pytest.raises(DataError, match=found):
        run(make_job(evaluation__retained=str(file)), data=rows, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_table_needs_a_column_of_text(make_job, rows, tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("title,words\na,b\n")
    with pytest.raises(DataError, match=r"(?s)evaluation\.retained.*text"):
        run(make_job(evaluation__retained=str(file)), data=rows, out=tmp_path / "r")


def test_numbers_of_a_typed_column_are_its_text(make_job, tmp_path):
    numbers = [7.0, 2.5, 300.0]
    pd.DataFrame({"text": numbers}).to_parquet(tmp_path / "n.parquet")
    (tmp_path / "n.jsonl").write_text("".join(f'{{"text": {number}}}\n' for number in numbers))
    (tmp_path / "n.txt").write_text("7\n2.5\n300\n")
    for name in ("n.parquet", "n.jsonl", "n.txt"):
        found = load_retained(make_job(evaluation__retained=str(tmp_path / name)))
        assert [row.fields["text"] for row in found] == ["7", "2.5", "300"]


def test_what_has_no_language_model_or_trains_nothing_is_refused(make_job):
    task = {"kind": "classification", "labels": ["a", "b"]}
    with pytest.raises(SettingError, match=r"evaluation\.retained does not go with task: classification"):
        make_job(task=task, evaluation__metrics=None, evaluation__retained="x.txt")
    with pytest.raises(SettingError, match="retained_tokens is a whole number"):
        make_job(evaluation__retained_tokens=0)


def test_a_folder_of_the_clients_data_holds_no_general_text(make_job, rows, tmp_path):
    (tmp_path / "train.jsonl").write_text("{}\n")
    with pytest.raises(
        DataError, match=r"evaluation\.retained.* is the folder .* no data file for retained \(it has train\.jsonl\)"
    ):
        run(make_job(evaluation__retained=str(tmp_path)), data=rows, out=tmp_path / "r")
