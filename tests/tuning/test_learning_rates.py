"""What `learning_rate: auto` stands for."""

import pytest

from fedtailor.assembly import assemble
from fedtailor.job import Job
from fedtailor.running import run
from fedtailor.tuning import TUNINGS, usual_learning_rate

GIVEN = {"peft": {"type": "IA3"}}  # what a tuning cannot be made without


@pytest.mark.parametrize("kind", TUNINGS)
def test_every_tuning_has_one_for_every_kind_of_text_backbone(kind):
    tuning = TUNINGS[kind](**GIVEN.get(kind, {}))
    needed = {"classifier"} if kind == "head" else {"causal", "classifier"}
    assert (
        needed
        <= set(tuning.learning_rates)
        <= {"causal", "classifier", "classifier-head", "denoiser", "embedder", "gan", "reader"}
    )
    assert all(0 < rate <= 0.3 for rate in tuning.learning_rates.values())


def test_a_tuning_of_the_users_own_may_name_none():
    assert usual_learning_rate(object(), "causal") == 1e-3


def job_of(**sections):
    return Job.from_dict({"backbone": "b", "task": {"kind": "generation"}, "data": {"train": "x.csv"}, **sections})


def test_a_job_decides_wherever_it_is_auto_and_keeps_what_is_given():
    distilling = {"kind": "distillation", "public": "p.csv", "align": {"learning_rate": 0.5}}
    job = job_of(tuning="lora", protocol=distilling).decided()
    usual = usual_learning_rate(job.tuning, "causal")
    protocol = job.protocol
    assert (protocol.local.learning_rate, protocol.align.learning_rate, protocol.distil.learning_rate) == (usual, 0.5, usual)
    tuned = job_of(tuning="lora", personalization="finetune").decided()
    assert tuned.personalization.learning_rate == usual
    assert job_of(personalization={"kind": "ditto"}).decided().personalization.learning_rate is None  # that of protocol.local


def test_it_follows_the_tuning_and_the_task():
    full = job_of(tuning="full")
    assert full.decided().protocol.local.learning_rate == 1e-4
    prompt = full.replace("tuning", "prompt")
    assert prompt.decided().protocol.local.learning_rate == 3e-2
    assert prompt.replace("task", {"kind": "classification"}).decided().protocol.local.learning_rate == 1e-4
    assert full.differences(full.replace("protocol.local.learning_rate", 1e-4)) == []
    bare = full.replace("tuning", {"kind": "prefix", "exchange": "prefix"})  # learns at a hundred times its network's
    assert bare.decided().protocol.local.learning_rate == 0.1
    assert bare.replace("tuning.exchange", "refit").decided().protocol.local.learning_rate == 1e-3


def test_a_head_has_its_own_where_the_tuning_knows_one_and_nobody_gave_another():
    classes = {"task": {"kind": "classification"}}
    local = job_of(tuning="prefix", **classes).decided().protocol.local
    assert (local.learning_rate, local.head_learning_rate, round(local.head_factor)) == (1e-4, 0.1, 1000)
    given = job_of(tuning="prefix", protocol={"local": {"learning_rate": 0.01}}, **classes).decided().protocol.local
    assert (given.head_learning_rate, given.head_factor) == (None, 1.0)
    assert job_of(tuning="prefix").decided().protocol.local.head_learning_rate is None  # a language model has no such head
    own = job_of(tuning="lora", protocol={"local": {"head_learning_rate": 0.05}}, **classes).decided().protocol.local
    assert own.head_learning_rate == 0.05


def test_control_variates_want_one_rate():
    local = {"optimizer": "sgd", "learning_rate": 0.1, "head_learning_rate": 0.2}
    with pytest.raises(Exception, match=r"scaffold does not go with local\.head_learning_rate: 0\.2"):
        job_of(protocol={"aggregation": "scaffold", "local": local})


def test_sgd_wants_a_number():
    with pytest.raises(Exception, match="auto is known for optimizer: adamw alone"):
        job_of(protocol={"local": {"optimizer": "sgd"}})


def test_the_runs_job_has_the_number_and_a_loss_that_does_not_fall_is_said(make_job, rows, tmp_path):
    events = []
    watcher = lambda kind, facts: events.append((kind, facts.get("text", "")))  # noqa: E731
    job = make_job(stop__rounds=1, protocol={"local": {"learning_rate": "auto", "steps": 1}})
    run(job, data=rows, out=tmp_path / "a", watcher=watcher)
    assert Job.load(tmp_path / "a" / "job.yaml").protocol.local.learning_rate == usual_learning_rate(job.tuning, "causal")
    assert not any("has not fallen" in text for _, text in events)
    run(make_job(stop__rounds=1, protocol__local__learning_rate=50.0), data=rows, out=tmp_path / "b", watcher=watcher)
    assert any("has not fallen" in text and "protocol.local.learning_rate (it is 50)" in text for _, text in events)


def test_a_rate_of_a_head_that_is_not_there_is_said(make_job, rows):
    heard = []
    assemble(make_job(protocol__local__head_learning_rate=0.1), given=rows, warn=heard.append)
    assert any("head_learning_rate has no effect" in text for text in heard)
    heard.clear()
    assemble(make_job(), given=rows, warn=heard.append)
    assert not any("head_learning_rate" in text for text in heard)
