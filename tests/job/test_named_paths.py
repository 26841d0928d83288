"""A setting that names a file names one of its own: a blank text, or a dot, would be the folder of the job."""

from typing import Any

import pytest

from fedtailor.data.columns import Wanted
from fedtailor.data.load import load
from fedtailor.errors import JobError, SettingError
from fedtailor.job import Job
from fedtailor.job.named_paths import PATHS, SOURCES
from fedtailor.models.locate import locate
from fedtailor.text_files import expanded

SMALL: dict[str, Any] = {"backbone": "smollm2-135m", "task": "generation", "data": {"train": "train.csv"}}
CLASSES = SMALL | {"task": "classification"}
ANSWERS = SMALL | {"backbone": "minilm-l6", "protocol": "retrieval"}
PROMPTING = CLASSES | {"protocol": {"kind": "prompting", "method": {"kind": "search"}}}
JOBS: dict[str, dict[str, Any]] = {  # one that has the setting
    "backbone": SMALL,
    "data.train": SMALL,
    "data.validation": SMALL,
    "data.test": SMALL,
    "task.labels": CLASSES,
    "task.reader": ANSWERS | {"task": {"kind": "question-answering"}},
    "task.reader.run": ANSWERS | {"task": {"kind": "question-answering", "reader": {"kind": "span"}}},
    "tuning.initial": SMALL,
    "protocol.query": ANSWERS | {"task": "question-answering"},
    "protocol.method.pool": PROMPTING,
    "protocol.method.shots": PROMPTING,
    "protocol.public": CLASSES | {"protocol": {"kind": "distillation"}},
    "evaluation.retained": SMALL,
    "evaluation.features.path": SMALL
    | {"task": "image-generation", "backbone": "folder", "evaluation": {"features": {"kind": "cifar"}}},
}


def with_value(raw: Any, path: list[str], value: object) -> Any:
    raw = {"kind": raw} if isinstance(raw, str) else raw or {}
    return {**raw, path[0]: value if len(path) == 1 else with_value(raw.get(path[0]), path[1:], value)}


def test_every_setting_that_names_a_file_is_tried():
    assert set(JOBS) == {*PATHS, *SOURCES}


@pytest.mark.parametrize("value", ["", " ", ".", "./"])
@pytest.mark.parametrize("setting", JOBS)
def test_a_blank_name_or_a_dot_is_refused_with_the_settings_name(setting, value):
    if setting in SOURCES and value.strip():
        assert Job.from_dict(with_value(JOBS[setting], setting.split("."), value))  # data may lie beside the job
        return
    with pytest.raises(SettingError) as caught:
        Job.from_dict(with_value(JOBS[setting], setting.split("."), value))
    said = str(caught.value)
    assert setting in said
    assert repr(value) in said
    assert "\n" not in said


@pytest.mark.parametrize("setting", SOURCES)
def test_one_of_a_list_of_paths_is_refused_alike(setting):
    with pytest.raises(SettingError, match=setting):
        Job.from_dict(with_value(JOBS[setting], setting.split("."), ["train.csv", ""]))


def test_a_clients_own_backbone_and_the_folder_of_the_paths():
    own = {"count": 2, "overrides": {"client-01": {"backbone": ""}}}
    with pytest.raises(SettingError, match=r"clients\.overrides\.client-01\.backbone is ''"):
        Job.from_dict(CLASSES | {"protocol": {"kind": "distillation", "public": "p.csv"}, "clients": own})
    with pytest.raises(SettingError, match="base is ''"):
        Job.from_dict(SMALL | {"base": ""})


@pytest.mark.parametrize("name", ["", " ", "."])
def test_whoever_reads_a_path_refuses_it_too(name, tmp_path):
    with pytest.raises(SettingError, match="of its own"):
        expanded(tmp_path, name, "a setting")
    for read in (lambda: locate(name, tmp_path), lambda: load(name, Wanted(required=("text",)), base=tmp_path, part="retained")):
        with pytest.raises(JobError):
            read()
    assert expanded(tmp_path, "..", "a setting") == tmp_path / ".."  # named, and another folder
