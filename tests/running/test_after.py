"""Phases that a job lists under `after`."""

import json

import pandas as pd
import pytest
from jobs import tiny_job, tiny_rows

from fedtailor.assembly import assemble
from fedtailor.errors import RunError, SettingError
from fedtailor.planning.traffic import traffic_of
from fedtailor.report.read import read_run
from fedtailor.report.run.tables import tables
from fedtailor.running import run

AFTER = [{"kind": "phased:GapPhase", "times": 2.0}]


def job_of(folder, **changes):
    return tiny_job(folder, stop__rounds=1, stop__keep="last", after=AFTER, **changes)


@pytest.fixture(scope="module")
def finished(tiny_backbone_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("after") / "run"
    run(job_of(tiny_backbone_folder), data=tiny_rows(), out=folder)
    return folder


def test_a_phase_adds_messages_rows_and_a_section(finished, tiny_backbone_folder):
    summary = json.loads((finished / "summary.json").read_text())
    found = summary["after"]["gap"]
    rows = pd.read_parquet(finished / "evaluations.parquet")
    rows = rows[rows.scope == "gap"].set_index("client").value
    assert found["clients"] == {client: {"gap": value} for client, value in rows.items()}
    assert len(rows) == 4
    assert found["mean"]["gap"] == pytest.approx(rows.mean())
    assert found["worst"]["gap"] == rows.max()
    manifest = json.loads((finished / "manifest.json").read_text())
    assert "gap" in manifest["down"]
    assert "gap" in manifest["up"]
    sent = summary["traffic"]["by_kind"]["gap"]
    estimated = traffic_of(assemble(job_of(tiny_backbone_folder), given=tiny_rows()), 1)["gap"]
    assert (estimated.up, estimated.down) == pytest.approx(
        (sent["up_bytes"], sent["down_bytes"]), rel=0.02, abs=40
    )  # digits of numbers


def test_its_figures_are_those_of_the_weights_that_the_run_ends_with(finished, tiny_backbone_folder):
    parts = assemble(job_of(tiny_backbone_folder), given=tiny_rows())
    parts.worker.tuning.restore(parts.worker.model, finished / "adapter")
    own = parts.clients["client-00"]
    trained, held_out = (parts.worker.evaluate(part, generate=False).figures["loss"] for part in (own.train, own.test))
    found = json.loads((finished / "summary.json").read_text())["after"]["gap"]["clients"]["client-00"]
    assert found["gap"] == pytest.approx(2 * (held_out - trained), rel=1e-4)


def test_it_has_a_table_of_its_own(finished):
    titles = [title for title, _ in tables(read_run(finished))]
    assert titles[-1] == "Gap"


def test_where_nobody_answers_the_run_ends_by_name(tiny_backbone_folder, tmp_path, monkeypatch):
    from phased import GapPhase

    def failing(self, client, asked):
        raise ValueError("no examples")

    monkeypatch.setattr(GapPhase, "_measure", failing)
    job = job_of(tiny_backbone_folder).replace("after", [GapPhase()])
    with pytest.raises(RunError, match="none of 4 clients answered in the gap: failed"):
        run(job, data=tiny_rows(), out=tmp_path / "run")


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (["shields:Times"], "after names Times, which lacks section, metrics, reports, calls, handlers, carry_out"),
        ([*AFTER, *AFTER], "after has two phases with the section gap"),
        (["gap"], "gap"),
    ],
)
def test_what_is_no_phase_is_refused(after, text, tiny_backbone_folder):
    with pytest.raises(SettingError, match=text):
        tiny_job(tiny_backbone_folder, after=after)
