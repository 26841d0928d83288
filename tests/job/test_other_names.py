"""Names of other tools, wherever they stand: the error names ours."""

import re

import pytest

from fedtailor.errors import SettingError
from fedtailor.job import Job
from fedtailor.job.other_names import INSTEAD, KINDS, SETTINGS

SMALL = {"backbone": "smollm2-135m", "task": "generation", "data": {"train": "train.csv"}}


def told(**sections):
    with pytest.raises(SettingError) as caught:
        Job.from_dict(SMALL | sections)
    return str(caught.value)


def known():
    """Return every dotted setting of every kind, as one pattern of the last two parts suffices to find it."""
    schema = Job.schema()
    return {name for section in [schema, *schema["$defs"].values()] for name in section.get("properties", {})}


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("r", "tuning.rank"),
        ("lora_alpha", "tuning.alpha"),
        ("lora_dropout", "tuning.dropout"),
        ("target_modules", "tuning.targets"),
        ("per_device_train_batch_size", "protocol.local.batch_size"),
        ("gradient_accumulation_steps", "protocol.local.accumulate"),
        ("bf16", "precision"),
        ("fp16", "precision"),
        ("use_dora", "use_dora: true"),
        ("num_train_epochs", "protocol.local.epochs"),
        ("max_steps", "protocol.local.steps"),
        ("warmup_ratio", "protocol.local.warmup_steps"),
        ("lr_scheduler_type", "protocol.local.schedule"),
        ("num_rounds", "stop.rounds"),
        ("num_clients", "clients.count"),
        ("fraction_fit", "clients.fraction"),
        ("local_epochs", "protocol.local.epochs"),
        ("model_name_or_path", "backbone"),
        ("comm_round", "stop.rounds"),
        ("output_dir", "--out"),
        ("Max-Seq-Length", "task.max_tokens"),
        ("secure_aggregation", "protection: [secure-aggregation]"),
    ],
)
def test_a_name_of_another_tool_is_answered_wherever_it_stands(name, here):
    for sections in (
        {name: 1},
        {"tuning": {"rank": 2, name: 1}},
        {"protocol": {"local": {name: 1}}},
        {"evaluation": {"generate": {name: 1}}},
        {"clients": {"overrides": {"north": {name: 1}}}},
    ):
        said = told(**sections)
        assert f"{name} is a name of other tools" in said
        assert here in said
        assert len(said) < 200


def test_what_others_call_kind():
    assert "the name of the tuning is tuning.kind" in told(tuning={"type": "lora"})
    assert "here: tuning: lora with precision: 4bit" in told(tuning={"kind": "qlora"})
    assert "here: protocol.local.proximal" in told(protocol={"aggregation": "FedProx"})
    assert "here: task: classification" in told(task={"kind": "SEQ_CLS"})


def test_every_name_leads_to_a_setting_and_none_is_one():
    settings = known()
    for here in [*SETTINGS, *KINDS.values()]:
        words = re.split(r"[:,{ ]", here.removeprefix("here: "))[0].split(".")
        assert set(words) <= settings, here
    others = [name for names in (*SETTINGS.values(), *INSTEAD) for name in names.split()]
    assert len(others) == len(set(others)) > 250
    assert not settings & set(others)
