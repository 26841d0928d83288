"""Whole jobs of pictures: every rule that sums updates or factors, resumed as unbroken, and the manifest as for texts."""

from functools import partial

import pytest
from denoisers import gan_folder, gan_job, picture_job, picture_rows, unet_folder  # noqa: F401  fixtures
from jobs import adapter, assert_same_adapter

from fedtailor.aggregation import AGGREGATIONS
from fedtailor.assembly import assemble
from fedtailor.errors import JobError, SettingError
from fedtailor.interfaces import traits_of
from fedtailor.running import run

ROWS = picture_rows()


@pytest.fixture
def job(unet_folder):  # noqa: F811
    return lambda **changes: picture_job(unet_folder, **changes)


def test_it_learns(job, tmp_path):
    found = run(job(protocol__local__steps=10, protocol__local__learning_rate=0.03), data=ROWS, out=tmp_path / "run")
    before, after = (found.summary["metrics"][moment]["loss"] for moment in ("before", "after"))
    assert after < 0.8 * before
    assert found.summary["metrics"]["after"]["examples"] == 12
    assert adapter(tmp_path / "run")["base_model.model.down_blocks.0.resnets.0.conv1.lora_A.weight"].shape == (2, 4, 3, 3)


QUICK = ("flora", "fedex-lora", "flexlora")  # they multiply factors, stack them and take them apart


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "rule", [rule if rule in QUICK else pytest.param(rule, marks=pytest.mark.large) for rule in sorted(AGGREGATIONS)]
)
def test_every_rule_takes_the_factors_of_convolutions(job, tmp_path, rule):
    local = {"protocol__local__optimizer": "sgd", "protocol__local__learning_rate": 0.1} if rule == "scaffold" else {}
    clients = max(3, traits_of(AGGREGATIONS[rule]()).least)
    found = run(
        job(**local, protocol__aggregation={"kind": rule}, clients__count=clients, stop__rounds=1),
        data=ROWS,
        out=tmp_path / "run",
    )
    assert found.summary["metrics"]["after"]["loss"] < found.summary["metrics"]["before"]["loss"]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "personalization",
    [
        {"kind": "finetune"},
        {"kind": "fedper", "home": ["class_embedding"]},
        pytest.param({"kind": "ditto"}, marks=pytest.mark.large),
    ],
    ids=lambda value: value["kind"],
)
def test_personalization_needs_nothing_of_its_own(job, tmp_path, personalization):
    found = run(job(personalization=personalization, stop__rounds=1), data=ROWS, out=tmp_path / "run")
    assert found.summary["clients"]["count"] == 3


PROTECTIONS = {
    "dp": [{"kind": "dp", "clip": 1.0, "epsilon": None, "noise_multiplier": 1.0, "force": True}],
    "codec": [{"kind": "codec", "code": "int8"}],
    "secure": [{"kind": "secure-aggregation"}],
}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", PROTECTIONS)
@pytest.mark.parametrize("kind", ["denoiser", "gan"])
def test_protections_need_nothing_of_their_own(job, gan_folder, tmp_path, kind, name):  # noqa: F811
    made = job if kind == "denoiser" else partial(gan_job, gan_folder)
    found = run(made(protection=PROTECTIONS[name], stop__rounds=1), data=ROWS, out=tmp_path / "run")
    assert found.summary["rounds"] == 1


def test_an_adapter_is_trained_and_resumed_as_unbroken(job, tmp_path):
    adapters = partial(job, tuning={"kind": "adapter", "width": 3})
    whole = run(adapters(), data=ROWS, out=tmp_path / "whole").summary["metrics"]
    assert whole["after"]["loss"] < whole["before"]["loss"]
    run(adapters(stop__rounds=1), data=ROWS, out=tmp_path / "first")
    run(adapters(), data=ROWS, resume=tmp_path / "first")
    assert_same_adapter(tmp_path / "whole", tmp_path / "first")


def test_resumed_as_unbroken(job, tmp_path):
    whole = run(job(), data=ROWS, out=tmp_path / "whole")
    run(job(stop__rounds=1), data=ROWS, out=tmp_path / "first")
    run(job(), data=ROWS, resume=tmp_path / "first")
    assert_same_adapter(tmp_path / "whole", tmp_path / "first")
    assert whole.summary["rounds"] == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": {"kind": "distillation", "public": "a.parquet"}},
        {"protocol": {"kind": "split", "cut": 1}},
        {"protocol": {"kind": "prompting"}},
        {"personalization": {"kind": "fedalt"}},
        {"personalization": {"kind": "feddpa"}},
    ],
    ids="distillation split prompting fedalt feddpa".split(),
)
def test_what_works_on_texts_is_refused(job, changes):
    with pytest.raises(SettingError, match="does not go with"):
        job(**changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"task__size": 16}, "task.size is 16, and the backbone makes pictures of 8 × 8"),
        ({"task__labels": None, "task__condition": "none"}, "task.condition is none"),
        ({"tuning": {"kind": "prefix", "length": 2}}, "do not go together"),
        ({"clients__partition": {"kind": "topic"}}, "topic"),
        ({"evaluation__metrics": ["bleu"]}, "does not measure"),
        ({"precision": "4bit"}, "4bit"),
    ],
    ids=["size", "condition", "prefix", "topic", "metric", "4bit"],
)
def test_settings_that_do_not_fit(job, changes, text):
    with pytest.raises(JobError, match=text):
        assemble(job(**changes), given=ROWS)
