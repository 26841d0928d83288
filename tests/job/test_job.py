import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from fedtailor.data.partition import Iid
from fedtailor.errors import SettingError
from fedtailor.job import Job, Stop, example_job
from fedtailor.tasks import TASKS
from fedtailor.tuning import Lora
from fedtailor.yaml_text import read_yaml, write_yaml

SMALL: dict[str, Any] = {"backbone": "smollm2-135m", "task": "generation", "data": {"train": "train.csv"}}


@dataclass(frozen=True, kw_only=True)
class Inner:
    depth: int = 2


@dataclass(frozen=True, kw_only=True)
class OwnTuning:
    """A tuning of the user's."""

    width: int = 4  # of the thing
    names: tuple[str, ...] = ()
    inner: Inner = Inner()


def job(**sections: Any) -> Job:
    return Job.from_dict(SMALL | sections)


def error(**sections: Any) -> str:
    with pytest.raises(SettingError) as caught:
        job(**sections)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_smallest_job_has_defaults_everywhere():
    small = job()
    assert (small.tuning, small.stop, small.seed) == (Lora(), Stop(), 0)
    assert small.task == TASKS["generation"]()
    assert small.base == Path.cwd()


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"tuning": {"rnak": 16}}, "tuning.rnak is not a setting; did you mean tuning.rank?"),
        ({"learning_rate": 0.1}, "did you mean protocol.local.learning_rate or personalization.learning_rate?"),
        ({"rounds": 3}, "did you mean stop.rounds?"),
        ({"protocol": {"local": {"lerning_rate": 1.0}}}, "did you mean protocol.local.learning_rate?"),
        ({"quux": 1}, "quux is not a setting; a job has after, backbone, base, clients"),
        ({"tuning": {"kind": "loar"}}, "tuning is 'loar', which is no tuning; did you mean lora?"),
        ({"clients": {"partition": "dirichle"}}, "did you mean dirichlet?"),
        ({"tuning": {"rank": "8"}}, "tuning.rank must be a whole number or 'auto'; got '8'."),
        ({"tuning": {"rank": 2.5}}, "tuning.rank must be a whole number or 'auto'; got 2.5."),
        ({"tuning": {"rank": True}}, "tuning.rank must be a whole number or 'auto'; got True."),
        ({"tuning": {"rank": 0}}, "tuning.rank is"),
        ({"tuning": ["lora"]}, "tuning must be a mapping of settings; got ['lora']."),
        ({"clients": {"count": 0}}, "clients.count is a number of clients, at least 1, got 0"),
        ({"clients": 3}, "clients must be a mapping of settings; got 3."),
        ({"stop": {"patience": 0}}, "stop.patience counts evaluations"),
        ({"stop": {"keep": "first"}}, "stop.keep must be 'best' or 'last'; got 'first'."),
        ({"evaluation": {"generate": {"beams": 0}}}, "evaluation.generate.beams is a whole number"),
        ({"evaluation": {"metrics": ["bluu"]}}, "did you mean bleu?"),
        ({"evaluation": {"metrics": ["accuracy"]}}, "it measures loss, "),
        ({"protocol": {"local": {"learning_rate": float("nan")}}}, "must be a finite number or 'auto'; got nan."),
        ({"stop": {"rounds": 10**23}}, "stop.rounds must be at most 100,000; got 1000"),
        ({"stop": Stop(rounds=10**23)}, "stop.rounds must be at most 100,000; got 1000"),
        ({"stop": {"rounds": 1e23}}, "stop.rounds must be a whole number; got 1e+23"),
        ({"tuning": {"rank": 10**9}}, "tuning.rank must be at most 16,384 or 'auto'; got 1000000000"),
        ({"threads": 10**7}, "threads must be 'auto' or at most 1,024; got 10000000"),
        ({"protocol": {"local": {"learning_rate": 10**400}}}, "learning_rate must be a number below 1e18 or 'auto'; got 1000"),
        ({"protocol": {"local": {"schedule_rounds": 0}}}, "protocol.local.schedule_rounds counts rounds, at least 1"),
        ({"clients": {"overrides": {"a": {"tuning": {"rank": 10**30}}}}}, "clients.overrides.a.tuning.rank must be at most"),
        ({"threads": "many"}, "threads must be 'auto' or a whole number; got 'many'."),
        ({"threads": 0}, "threads must be at least 1"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda, cuda:N or mps; got 'gpu'."),
        ({"seed": -1}, "seed must be at least 0; got -1."),
        ({"precision": "float16"}, "or '4bit'; got 'float16'."),
        ({"name": "a/b"}, "name is part of a folder's name"),
        ({"task": {}}, "task has no kind"),
        ({"task": {"kind": "nowhere.at:All"}}, "names the class 'nowhere.at:All', which cannot be used"),
        ({"protection": [{"kind": "noise"}]}, "protection.0 is 'noise', which is no protection"),
        ({"protection": "clip"}, "protection is 'clip', which is no protection"),
        (
            {"protection": [{"kind": "mine:Clip", "norm": 1}]},
            "protection.0 names the class 'mine:Clip', which cannot be used: ModuleNotFoundError",
        ),
        ({"protection": [Iid()]}, "protection names Iid, which has none of the parts of a protection"),
        ({"data": {"columns": ["input"]}}, "data.columns must be a mapping"),
        ({"data": {"limit": {"train": "all"}}}, "data.limit.train must be a whole number; got 'all'."),
        ({"data": {"train": 3}}, "data.train is a path"),
    ],
)
def test_fault_is_named_with_its_remedy(sections: dict[str, Any], words: str):
    assert words in error(**sections)


def test_several_faults_are_reported_at_once():
    text = error(tuning={"rnak": 1}, seed="x", clients={"cuont": 3})
    assert "tuning.rank" in text
    assert "seed must be" in text
    assert "clients.count" in text


def test_missing_sections_are_reported_with_what_to_write():
    with pytest.raises(SettingError, match=r"backbone is missing\. Write backbone: .* task is missing\..* data is missing\."):
        Job.from_dict({})


def test_python_faults_are_the_same_errors():
    with pytest.raises(SettingError, match=r"seed must be a whole number"):
        Job(**SMALL, seed="zero")


def test_parts_may_be_given_as_objects():
    assert job(tuning=Lora(rank=4), stop=Stop(rounds=2)) == job(tuning={"rank": 4}, stop={"rounds": 2})


def test_class_of_the_users_by_its_name():
    own = job(tuning={"kind": f"{__name__}:OwnTuning", "width": 9, "names": ["a"]})
    assert own.tuning == OwnTuning(width=9, names=("a",))
    assert Job.from_dict(read_yaml(own.to_yaml(), "text")) == own
    assert "tuning.wdith is not a setting; did you mean tuning.width?" in error(
        tuning={"kind": f"{__name__}:OwnTuning", "wdith": 9}
    )


def test_written_job_reads_back_equal_in_another_folder(tmp_path: Path):
    full = job(
        tuning={"rank": 3, "targets": ["q_proj"]},
        clients={"count": 5, "partition": {"kind": "dirichlet", "by": "label", "alpha": 0.3}},
        evaluation={"metrics": ["loss", "bleu"]},
        protocol={"local": {"learning_rate": 1e-5}},
    )
    file = tmp_path / "deep" / "job.yaml"
    file.parent.mkdir()
    file.write_text(full.to_yaml(), encoding="utf-8")
    assert Job.load(file) == full
    assert Job.load(file).path("train.csv") == Path.cwd() / "train.csv"


def test_paths_start_at_the_job_file(tmp_path: Path):
    file = tmp_path / "job.yaml"
    file.write_text(write_yaml(SMALL), encoding="utf-8")
    loaded = Job.load(file)
    assert loaded.path("train.csv") == tmp_path / "train.csv"
    assert loaded.name == "job"


def test_overrides_come_on_top(tmp_path: Path):
    file = tmp_path / "my job.yaml"
    file.write_text(write_yaml(SMALL), encoding="utf-8")
    words = [
        "tuning.rank=16",
        "protocol.local.learning_rate=1e-3",
        "clients.partition={kind: natural, by: who}",
        "task.chat=true",
    ]
    loaded = Job.load(file, words)
    assert (loaded.tuning.rank, loaded.protocol.local.learning_rate, loaded.task.chat) == (16, 1e-3, True)  # type: ignore[attr-defined]
    assert loaded.clients.partition.by == "who"  # type: ignore[attr-defined]
    assert loaded.name == "my-job"


@pytest.mark.parametrize("word", ["tuning.rank", "=3", "tuning..rank=3", "tuning.rank.deep=3", "tuning.rank=[1", "a b=3"])
def test_bad_override_is_refused(tmp_path: Path, word: str):
    file = tmp_path / "job.yaml"
    file.write_text(write_yaml(SMALL | {"tuning": {"rank": 8}}), encoding="utf-8")
    with pytest.raises(SettingError):
        Job.load(file, [word])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("backbone: [", "line 1: this is not YAML"),
        ("backbone: a\nbackbone: b", "the key 'backbone' is written twice"),
        ("- a\n- b", "a job is a mapping of settings"),
        ("", "a job is a mapping of settings"),
        ("1: 2", "1 is not a setting"),
        ("a: !!python/object:os.system x", "this is not YAML"),
    ],
)
def test_unreadable_job_file_is_named(tmp_path: Path, text: str, words: str):
    file = tmp_path / "job.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingError, match=r"job\.yaml") as caught:
        Job.load(file)
    assert words in str(caught.value)


def test_missing_job_file_names_those_beside_it(tmp_path: Path):
    (tmp_path / "right.yaml").write_text("", encoding="utf-8")
    with pytest.raises(SettingError, match=r"there is right\.yaml"):
        Job.load(tmp_path / "wrong.yaml")
    with pytest.raises(SettingError, match="is a folder"):
        Job.load(tmp_path)


def test_replace_and_differences():
    old = job()
    new = old.replace("tuning.rank", 16).replace("stop.rounds", 2)
    assert old.differences(new) == ["tuning.rank", "stop.rounds"]
    assert old.tuning == Lora()


def test_example_job_loads_and_shows_every_section(tmp_path: Path):
    file = tmp_path / "job.yaml"
    file.write_text(example_job(), encoding="utf-8")
    loaded = Job.load(file)
    assert loaded.name == "example"
    assert set(Job.model_fields) - {"base"} <= set(read_yaml(example_job(), "example"))


def test_schema_comes_from_the_same_dataclasses():
    schema = Job.schema()
    lora = schema["$defs"]["Lora"]
    assert set(lora["properties"]) == {item.name for item in fields(Lora)}
    assert lora["additionalProperties"] is False
    assert lora["properties"]["rank"]["default"] == Lora().rank
    assert schema["$defs"]["LocalTraining"]["properties"]["batch_size"]["description"] == "examples in one forward pass"
    assert schema["required"] == ["backbone", "task", "data"]
    json.dumps(schema)


def test_notes_of_wrapped_settings_are_found_too():
    schema = Job.schema()
    notes = {name: section["properties"] for name, section in schema["$defs"].items()} | {"Job": schema["properties"]}
    for section, setting, begins in (
        ("FedDpa", "variant", "F: the local adapter is trained after the last round"),
        ("FedDpa", "weight", "share of the local adapter"),
        ("FedDpa", "scale", "of an instance's share"),
        ("Generation", "chat", "True: the model's chat template"),
        ("Job", "protection", "what happens to an update before it leaves"),
    ):
        assert notes[section][setting].get("description", "").startswith(begins), setting


def test_example_job_fits_the_schema():
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(read_yaml(example_job(), "example"), Job.schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(SMALL | {"tuning": {"kind": "lora", "rnak": 3}}, Job.schema())


def test_every_number_has_a_largest_value():
    """Of every technique and section, however it is named: what lies beyond is no size that a machine could carry out."""
    sections = [Job.schema(), *Job.schema()["$defs"].values()]
    numbers = [
        (section.get("title"), name, choice)
        for section in sections
        for name, setting in section.get("properties", {}).items()
        for choice in (setting, *setting.get("anyOf", ()))
        if choice.get("type") in {"integer", "number"} and "enum" not in choice
    ]
    assert len(numbers) > 80
    assert [(title, name) for title, name, choice in numbers if not {"maximum", "exclusiveMaximum"} & set(choice)] == []
