"""What a chat template writes as now is fixed for a run, kept in its folder, and the same when it is resumed and at every site."""

import json
from datetime import datetime

import pytest
from jobs import adapter, tiny_job

from fedtailor.assembly import assemble
from fedtailor.cli.tryout import _prompts
from fedtailor.clock import fixed_clock, parse_moment, today
from fedtailor.network.meeting.meeting import at_clock, job_to_send
from fedtailor.running import run
from fedtailor.running.resume import recorded_clock
from fedtailor.tasks.task import at_moment

DATED = "{{ 'Now: ' + strftime_now('%d %b %Y %H:%M:%S.%f') }}{% for m in messages %}{{ '<|im_start|>' + m.content + '<|im_end|>' }}{% endfor %}"


@pytest.fixture(scope="module")
def dated(tiny_backbone_folder, tmp_path_factory):
    """Return the folder of a model whose chat template writes the present moment, to the microsecond."""
    import shutil

    folder = tmp_path_factory.mktemp("dated") / "model"
    shutil.copytree(tiny_backbone_folder, folder)
    (folder / "chat_template.jinja").write_text(DATED)
    return folder


def prompt_of(parts):
    return parts.worker.processor.decode(next(iter(parts.clients.values())).train.tokens_T.tolist())


def test_template_writes_the_fixed_moment_and_the_machines_clock_comes_back(dated):
    from transformers import AutoTokenizer

    tokenizer, turns = AutoTokenizer.from_pretrained(dated), [{"role": "user", "content": "a"}]
    with fixed_clock(parse_moment("2026-02-03T04:05:06")):
        assert "03 Feb 2026 04:05:06.000000" in tokenizer.apply_chat_template(turns, tokenize=False)
    assert datetime.now().strftime("%d %b %Y %H:%M") in tokenizer.apply_chat_template(turns, tokenize=False)


def test_two_runs_of_one_seed_and_a_resumed_one_have_the_same_bits(dated, rows, tmp_path, monkeypatch):
    job = tiny_job(dated, task={"kind": "generation", "chat": True}, stop__rounds=2, evaluation__metrics=["loss"])
    for name in ("a", "b"):
        run(job, data=rows, out=tmp_path / name)
    assert adapter(tmp_path / "a").keys() == adapter(tmp_path / "b").keys()
    assert all((value == adapter(tmp_path / "b")[name]).all() for name, value in adapter(tmp_path / "a").items())
    moment = json.loads((tmp_path / "a" / "environment.json").read_text())["clock"]
    assert moment == today() == recorded_clock(tmp_path / "a")
    monkeypatch.setattr("fedtailor.assembly.pipeline.today", lambda: "2031-01-01T00:00:00")
    for folder, out in (("a", None), (None, tmp_path / "c")):
        resumed = {"resume": tmp_path / folder} if folder else {"out": out}
        run(job.replace("stop.rounds", 3), data=rows, **resumed)
    assert recorded_clock(tmp_path / "a") == moment
    assert recorded_clock(tmp_path / "c") == "2031-01-01T00:00:00"


def test_the_moment_is_a_setting_sent_to_sites_and_reported_where_it_is_not_set(dated, rows):
    said: list[str] = []
    job = tiny_job(dated, task={"kind": "generation", "chat": True})
    parts = assemble(job, given=rows, clock="2026-02-03T04:05:06", warn=said.append)
    assert "Now: 03 Feb 2026 04:05:06.000000" in prompt_of(parts)
    assert [text for text in said if "task.clock=2026-02-03T04:05:06" in text]
    sent = job_to_send(at_clock(job, parts.worker.task))
    assert sent["task"]["clock"] == "2026-02-03T04:05:06"
    said.clear()
    parts = assemble(job.replace("task.clock", "1999-12-31"), given=rows, warn=said.append)
    assert "Now: 31 Dec 1999 00:00:00.000000" in prompt_of(parts)
    assert not [text for text in said if "date and time" in text]


def test_try_builds_prompts_as_training_does(dated, rows):
    job = tiny_job(dated, task={"kind": "generation", "chat": True})
    parts = assemble(job, given=rows, clock="2026-02-03")
    task, tokenizer = at_moment(job.task, "2026-02-03"), parts.worker.processor
    (prompt,) = _prompts(task, tokenizer, ["a<|im_end|>"], {})
    assert tokenizer.decode(prompt) == "Now: 03 Feb 2026 00:00:00.000000<|im_start|>a<|im_end|><|im_end|>"
    assert prompt.count(tokenizer.eos_token_id) == 1
