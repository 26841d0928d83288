import json
import shutil

import pytest

from fedtailor.errors import DataError
from fedtailor.report import compare, read_run, show
from fedtailor.report.comparison import differences


def line(text: str, start: str) -> str:
    """Return the line that begins with `start`, its spaces made single."""
    return next(" ".join(row.split()) for row in text.splitlines() if row.strip().startswith(start))


def test_show(write_run, printed):
    text = printed(show(read_run(write_run("one"))))
    assert "tiny · lora r 8 · 2 rounds, stopped early" in text
    assert line(text, "loss") == "loss 3.00 → 1.50 −50 % 3.10 → 1.60 3.50 → 2.25 3.40 → 2.10"
    assert line(text, "BLEU") == "BLEU 5.0 → 40.0 × 8.0 – – –"
    # of the round that was kept, 1, not of the last one; bytes 2 rounds × 1850; seconds 2 × 61
    assert line(text, "a ") == "a 30 8 3.00 → 1.25 3.7 kB 2 min 02 s"
    assert line(text, "1 ● kept") == "1 ● kept 2.500 1.250 3.7 kB 500 B 2 min 02 s"
    assert line(text, "sent by clients") == "sent by clients 7.4 MB (7,400,000 bytes)"
    assert line(text, "time ") == "time 5 min 12 s (training 4 min 10 s, measuring 1 min 00 s, exchange 0.5 s)"
    assert "b lost: Timeout" in text
    assert text.index("new") < text.index("same")  # what changed comes first


def test_last_round_is_marked_where_the_last_is_kept(write_run, printed):
    assert line(printed(show(read_run(write_run("one", kept="last")))), "2 ● kept")


def test_samples_of_clients_where_there_is_no_public_test(write_run, printed):
    folder = write_run("one")
    for client in "ab":
        home = folder / "clients" / client
        home.mkdir(parents=True)
        for moment in ("before", "after"):
            row = {"input": f"of {client}", "references": ["r"], "text": moment * 2}
            (home / f"generations-{moment}.jsonl").write_text(json.dumps(row) + "\n")
    shutil.rmtree(folder / "generations")
    samples = read_run(folder).samples(5)
    assert [(s["client"], s["before"], s["after"]) for s in samples] == [
        ("a", "beforebefore", "afterafter"),
        ("b", "beforebefore", "afterafter"),
    ]
    assert "input (a)" in printed(show(read_run(folder)))


def test_a_bare_summary_is_enough(write_run, printed):
    folder = write_run("one")
    for name in ("job.yaml", "events.jsonl", "rounds.parquet", "clients.parquet", "evaluations.parquet"):
        (folder / name).unlink()
    shutil.rmtree(folder / "generations")
    assert "3.00 → 1.50" in printed(show(read_run(folder)))


def test_markup_in_texts_is_shown_as_it_is(write_run, printed):
    folder = write_run("one")
    row = {"input": "x[red]", "references": ["[/b]"], "text": "[bold"}
    for moment in ("before", "after"):
        (folder / "generations" / f"{moment}.jsonl").write_text(json.dumps(row) + "\n")
    text = printed(show(read_run(folder)))
    assert "x[red]" in text
    assert "[/b]" in text


def test_compare(write_run, printed):
    text = printed(compare([read_run(write_run("one")), read_run(write_run("two", loss=1.25, rank=16))]))
    assert line(text, "loss") == "loss 1.500 1.250"
    assert line(text, "worst client") == "worst client 2.250 2.250"
    assert line(text, "tuning.rank") == "tuning.rank 8 16"
    assert "base" not in text


def test_differences():
    assert differences([{"a": {"b": 1}, "name": "x"}, {"a": {"b": 1, "c": None}, "name": "y"}]) == {"a.c": ["–", "null"]}


def test_faults_of_folders(tmp_path, write_run):
    write_run("one")
    with pytest.raises(DataError, match=r"not the folder of a run; there is .*one"):
        read_run(tmp_path)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "job.yaml").write_text("")
    with pytest.raises(DataError, match="has not ended"):
        read_run(tmp_path / "cut")
    (tmp_path / "cut" / "summary.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_run(tmp_path / "cut")
