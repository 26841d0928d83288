"""fedtailor diagnose: what it prints, its exit codes, and what it says of folders that are no runs."""

import json

import pytest

from fedtailor.cli.main import main


def ended(words):
    with pytest.raises(SystemExit) as end:
        main(["diagnose", *map(str, words)])
    return end.value.code


@pytest.fixture
def late(tmp_path):
    """Return the folder of a run that has not ended, with a client that timed out."""
    folder = tmp_path / "late"
    folder.mkdir()
    (folder / "job.yaml").write_text("name: late\n")
    events = [
        {"time": "2026-11-29T10:00:00+00:00", "event": "start", "rounds": 3},
        {
            "time": "2026-11-29T10:01:00+00:00",
            "event": "failure",
            "client": "north",
            "round": 1,
            "text": "failed: OutOfMemoryError",
        },
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + '{"time": "2026-')
    return folder


def test_a_finding_has_evidence_and_a_command(late, capsys):
    assert ended([late]) == 0
    shown = capsys.readouterr().out
    assert "clients run out of memory (out-of-memory, likely)\n  1 time at north in round 1: failed: OutOfMemoryError\n" in shown
    assert f"          fedtailor run {late / 'job.yaml'} protocol.local.batch_size=4\n" in shown
    assert "not judged: stalls-early: no column validation_loss in rounds.parquet" in shown


def test_a_script_can_fail_on_a_finding(late, capsys):
    assert ended([late, "--fail-on", "likely", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["findings"][0]["signature"] == "out-of-memory"
    assert ended([late, "--fail-on", "sure"]) == 2


def test_what_is_no_run_or_is_damaged_is_named(late, tmp_path, capsys):
    assert ended([tmp_path]) == 2
    assert "is not the folder of a run" in capsys.readouterr().err
    (late / "clients.parquet").write_bytes(b"PAR1 and no more")
    assert ended([late]) == 2
    assert "clients.parquet cannot be read" in capsys.readouterr().err


def test_a_folder_with_a_blank_in_its_name_is_quoted(late, tmp_path, capsys):
    assert ended([late.rename(tmp_path / "too late")]) == 0
    assert f"fedtailor run '{tmp_path}/too late/job.yaml' protocol.local.batch_size=4\n" in capsys.readouterr().out


def test_an_event_without_a_time_and_settings_of_another_form_are_no_surprise(late, capsys):
    (late / "job.yaml").write_text("name: late\ndata: rows.csv\n")
    assert ended([late]) == 0
    (late / "events.jsonl").write_text('{"time": "at noon", "event": "start", "rounds": 3}\n')
    assert ended([late]) == 2
    assert "events.jsonl has an event without a time that can be read" in capsys.readouterr().err


def test_an_audit_says_of_a_folder_what_it_is(late, tmp_path, capsys):
    for folder, said in ((tmp_path, "is not the folder of a run"), (late, f"fedtailor run --resume {late}")):
        with pytest.raises(SystemExit) as end:
            main(["audit", str(folder)])
        assert end.value.code == 2
        assert said in " ".join(capsys.readouterr().err.split())
