"""What server and sites tell each other."""

import pytest
from distilling import class_job

from fedtailor.errors import SettingError
from fedtailor.job import Job
from fedtailor.network.meeting.meeting import backbone_name, check_for_network, job_to_send, plain_examples, to_examples
from fedtailor.records import Example


def test_no_path_of_the_server_is_reported(make_job, tmp_path):
    job = make_job(data={"train": str(tmp_path / "a.jsonl"), "test": str(tmp_path / "b.jsonl")})
    told = job_to_send(job)
    assert str(tmp_path) not in repr(told)
    assert told["backbone"] == "tiny-llama"
    assert Job.from_dict({**told, "backbone": "smollm2-135m"}).tuning == job.tuning  # and the rest reads back


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("smollm2-135m", "smollm2-135m"),
        ("/models/llama", "llama"),
        ("./models/x.gguf", "x.gguf"),
        ("owner/model", "owner/model"),
        ("models/deep/llama", "llama"),
    ],
)
def test_backbones_are_known_by_a_name(name, known_as):
    assert backbone_name(name) == known_as


def test_what_a_network_cannot_do_is_refused_by_name(tiny_bert_folder, tiny_backbone_folder):
    with pytest.raises(SettingError, match=r"task\.labels must be listed"):
        job_to_send(class_job(tiny_bert_folder, task={"kind": "classification"}))
    with pytest.raises(SettingError, match="rest has no meaning"):
        job_to_send(class_job(tiny_bert_folder))
    with pytest.raises(SettingError, match=r"tuning\.initial does not go with protocol: distillation"):
        job_to_send(class_job(tiny_bert_folder, p_public="a.jsonl", tuning={"kind": "lora", "initial": "adapter"}))


def test_a_class_of_somebodys_own_is_refused_before_it_is_submitted(make_job, monkeypatch):
    told = make_job().to_dict() | {"personalization": {"kind": "my.module:Class"}}
    job = make_job()
    monkeypatch.setattr(type(job), "to_dict", lambda self: told)
    with pytest.raises(
        SettingError, match=r"the job names the class my\.module:Class; take one of ours, or run it on one machine"
    ):
        check_for_network(job)


def test_examples_are_plain_values_and_come_back():
    examples = [Example(id="test-1", fields={"input": "a", "references": ("b", "c"), "n": 1, "when": object})]
    told = plain_examples(examples)
    assert told[0]["fields"] == {"input": "a", "references": ["b", "c"], "n": 1, "when": str(object)}
    assert to_examples(told)[0].id == "test-1"
