import io
import time

import pytest
from rich.console import Console

from fedtailor.cli.progress import Bars, Complaints, Watcher, watch

PLAN = {
    "folder": "runs/x",
    "from_round": 0,
    "rounds": 2,
    "clients": 3,
    "clients_per_round": 2,
    "steps_per_round": 4,
    "precision": "float32",
    "device": "cpu",
}


def story(watcher):
    """Tell a whole run of 2 rounds, 2 of 3 clients, 2 steps each."""
    with watcher:
        watcher("start", PLAN)
        watcher("evaluating", {"what": "a", "done": 1, "of": 3})
        watcher("evaluated", {"round": 0, "figures": {"loss": 3.0, "bleu": 4.0}})
        for round in (1, 2):
            for client in "ab":
                for step in (1, 2):
                    watcher("step", {"client": client, "step": step, "steps": 2, "loss": 2.0})
            watcher(
                "round",
                {
                    "round": round,
                    "rounds": 2,
                    "train_loss": 2.0,
                    "validation_loss": 1.5,
                    "seconds": 61.0,
                    "up_bytes": 2000,
                    "down_bytes": 10,
                },
            )
        watcher("failure", {"client": "b", "text": "lost: Timeout"})
        watcher("warning", {"text": "[3] examples left out"})
        watcher("something-new", {})
        watcher("done", {"folder": "runs/x", "summary": {}})


@pytest.mark.parametrize("kind", [Watcher, Bars])
def test_lines(kind):
    text = io.StringIO()
    story(kind(Console(file=text, width=120, force_terminal=kind is Bars, color_system=None)))
    told = text.getvalue()
    for words in (
        "3 clients, 2 in a round  ·  2 rounds of 4 steps at most",
        "before  ·  loss 3.000  ·  BLEU 4.0",
        "round 1 of 2  ·  training loss 2.000  ·  validation 1.500  ·  2.0 kB up, 10 B down  ·  1 min 01 s",
        "client b dropped: lost: Timeout",
        "note: [3] examples left out",
    ):
        assert words in told
    assert told.count("training takes about") == 1


def test_plain_lines_where_there_is_no_terminal():
    assert type(watch(Console(file=io.StringIO()))) is Watcher
    assert type(watch(Console(file=io.StringIO(), force_terminal=True))) is Bars
    assert type(watch(Console(file=io.StringIO(), force_terminal=True), quiet=True)) is Complaints


def test_complaints_are_plain_lines_and_all_there_is():
    text = io.StringIO()
    watcher = Complaints(Console(file=text, width=20, force_terminal=True, highlight=False))
    story(watcher)
    assert text.getvalue() == "client b dropped: lost: Timeout\nnote: [3] examples left out\n"
    assert watcher.folder == "runs/x"


def test_time_estimated_is_steps_that_are_left_times_seconds(monkeypatch):
    clock = iter([10.0, 13.0])
    monkeypatch.setattr("fedtailor.cli.progress.time.monotonic", lambda: next(clock, 13.0))
    text = io.StringIO()
    watcher = Watcher(Console(file=text, width=120))
    watcher("start", PLAN | {"from_round": 1})
    for step in (1, 2):
        watcher("step", {"client": "a", "step": step, "steps": 2, "loss": 2.0})
    assert "about 12 s on this machine, 3.0 s a step" in text.getvalue()  # (2 − 1) rounds × 4 steps × 3 s


def test_a_damaged_checkpoint_is_reported():
    console = Console(file=io.StringIO(), width=120)
    with watch(console) as watcher:
        watcher("damaged-checkpoint", {"text": "checkpoint 000003 is damaged"})
    assert "checkpoint 000003 is damaged" in console.file.getvalue()


def test_a_line_comes_after_a_while_of_silence_and_only_then(monkeypatch):
    from fedtailor.cli import waiting

    monkeypatch.setattr(waiting, "SILENCE_S", 0.05)
    console = Console(width=80, force_terminal=False, file=io.StringIO())
    with waiting.waiting(console, "reading the data"):
        pass
    assert console.file.getvalue() == ""
    with waiting.waiting(console, "reading the data"):
        time.sleep(0.3)
    assert console.file.getvalue() == "reading the data …\n"
