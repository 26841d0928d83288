"""now.json: at most once a second, and no fault of the run if it cannot be written."""

import json

from fedtailor.running.now import Now


def test_it_is_replaced_at_most_once_a_second_and_gone_at_the_end(tmp_path):
    time = [10.0]
    now = Now(tmp_path, clock=lambda: time[0])
    file = tmp_path / "now.json"
    step = {"client": "a", "step": 1, "steps": 4, "loss": 2.5, "folder": "/x"}
    now.see("step", step)
    assert json.loads(file.read_text()) == {"event": "step", "client": "a", "step": 1, "steps": 4, "loss": 2.5}
    time[0] += 0.9
    now.see("step", step | {"step": 2})
    assert json.loads(file.read_text())["step"] == 1
    time[0] += 0.2
    now.see("evaluating", {"what": "a", "done": 1, "of": 6})
    assert json.loads(file.read_text()) == {"event": "evaluating", "what": "a", "done": 1, "of": 6}
    time[0] += 2.0
    now.see("step", step | {"loss": float("nan")})
    assert json.loads(file.read_text())["loss"] is None
    now.see("done", {})
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_is_gone_stops_nothing(tmp_path):
    Now(tmp_path / "gone").see("step", {"client": "a", "step": 1, "steps": 2, "loss": 1.0})
    assert not (tmp_path / "gone").exists()
