"""What a site permits."""

import json
import os

import pytest
from jobs import tiny_job

from fedtailor.errors import BackboneError, SettingError
from fedtailor.network.kit import site_file
from fedtailor.network.kit.policy import Policy
from fedtailor.network.kit.site_file import Meter, SiteFile, read_site_file
from fedtailor.network.meeting.meeting import job_to_send

FROM_PUBLIC = {"kind": "distillation", "public": "public.jsonl"}


@pytest.fixture
def told(tiny_backbone_folder):
    """Return a maker of jobs as sites are told them."""

    def make(**changes):
        job = tiny_job(tiny_backbone_folder, **{"task": {"kind": "generation"}, **changes})
        return json.loads(json.dumps(job_to_send(job)))

    return make


def test_the_usual_job_is_permitted(told):
    assert Policy().refusals(told()) == []


@pytest.mark.parametrize(
    ("policy", "changes", "words"),
    [
        ({"tunings": ["adapter"]}, {}, "tuning lora is not permitted here; permitted: adapter"),
        ({"aggregations": ["fedavg"]}, {"protocol__aggregation": {"kind": "flora"}}, "aggregation flora is not permitted here"),
        ({"rounds": 2}, {"stop__rounds": 3}, "asks for 3 rounds, permitted are 2"),
        ({"protections": ["dp"]}, {}, "lacks protection by dp"),
        ({"reports": []}, {}, "needs reports of examples"),
        (
            {},
            {"protocol": {"kind": "split", "cut": 1}},
            "protocol split is not permitted here; permitted: averaging, distillation",
        ),
        (
            {"protocols": ["split"]},
            {"protocol": {"kind": "split", "cut": 1, "labels": "with-server"}},
            "needs reports of labels",
        ),
        ({"protocols": ["distillation"]}, {}, "protocol averaging is not permitted"),
        ({"reports": ["examples", "figures"]}, {"protocol": FROM_PUBLIC}, "needs reports of public-fit"),
    ],
)
def test_what_is_not_permitted_is_refused_and_both_sides_are_named(told, policy, changes, words):
    assert any(words in text for text in Policy(**policy).refusals(told(**changes)))


@pytest.mark.parametrize("place", ["tuning", "personalization", "wire"])
def test_no_class_but_ours_runs_wherever_it_is_named(told, place):
    job = told()
    deep = {"kind": "os:system"}
    job |= {"protocol": {**job["protocol"], "wire": [deep]}} if place == "wire" else {place: deep}
    assert Policy().refusals(job) == ["the job names the class os:system, and only techniques that come with fedtailor run here"]


@pytest.mark.parametrize(
    "bare",
    [
        {"personalization": "os:system"},
        {"protection": ["os:system"]},
        {"clients": {"partition": "os:system"}},
        {"device": "os:system"},
    ],
    ids=["personalization", "protection", "partition", "device"],
)
def test_a_bare_name_of_a_class_is_refused_as_one_under_kind(told, bare):
    assert Policy().refusals(told() | bare) == [
        "the job names the class os:system, and only techniques that come with fedtailor run here"
    ]


def test_texts_of_a_job_that_look_like_classes_and_are_none_pass(told):
    job = told(task={"kind": "classification", "labels": ["a:b", "c:d"]}, device="cuda:0")
    assert Policy().refusals(job) == []


def test_what_is_not_reported_need_not_be_permitted(told):
    shy = Policy(reports=("examples",))
    assert shy.refusals(told(protocol={**FROM_PUBLIC, "public_fit": False})) == []


@pytest.mark.parametrize(
    "own", [{"task": {"kind": "classification", "labels": "/etc/passwd"}}, {"tuning": {"kind": "lora", "initial": "/a"}}]
)
def test_no_file_that_a_job_names_is_opened(told, own):
    assert Policy().refusals(told() | own) == ["the job names a file, and no file of this site is opened for a job"]


@pytest.mark.parametrize("damage", [{"protocol": "averaging"}, {"tuning": None}, {"stop": {"rounds": "many"}}, {"stop": {}}])
def test_a_job_in_another_form_is_refused(told, damage):
    assert "not in the form" in Policy().refusals(told() | damage)[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rounds": 0},
        {"rounds": True},
        {"rounds": "10"},
        {"reports": ["names"]},
        {"protocols": "averaging"},
        {"protocols": ["avergaing"]},
        {"tunings": ["lra"]},
        {"protections": ["pd"]},
        {"protections": "dp"},
        {"aggregations": ["fedavgm", "fedav"]},
        {"backbone_from_server": "yes"},
        {"min_examples": 0},
    ],
)
def test_a_wrong_policy_is_refused(wrong):
    with pytest.raises(SettingError, match=rf"policy\.{next(iter(wrong))}"):
        Policy(**wrong)


def test_the_site_file_is_for_its_owner_alone_and_is_read_back(tmp_path):
    file = SiteFile(data=("/data/a.parquet",), columns={"input": "notes"}, policy=Policy(rounds=7))
    file.write(tmp_path)
    path = tmp_path / "local" / "fedtailor.json"
    assert path.stat().st_mode & 0o077 == 0
    assert read_site_file(tmp_path) == file
    path.write_text(json.dumps({**json.loads(path.read_text()), "date": 1}))
    with pytest.raises(SettingError, match="date is no setting of a site"):
        read_site_file(tmp_path)
    path.write_text("{")
    with pytest.raises(SettingError, match="cannot be read"):
        read_site_file(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"data": ["a"], "policy": []}', r"policy must be a mapping of settings"),
        ('{"data": ["a"], "policy": null}', r"policy must be a mapping of settings"),
        ('{"data": ["a"], "policy": "strict"}', r"policy must be a mapping of settings"),
        ('{"data": ["a"], "data": ["b"]}', "the key 'data' stands there twice"),
        ('{"data": ["a"], "policy": {"rounds": 1, "rounds": 1000}}', "the key 'rounds' stands there twice"),
        ('{"data": ["a"], "columns": {"input": "x", "input": "y"}}', "the key 'input' stands there twice"),
        ('{"data": "abc"}', "data is a list of files"),
        ('{"data": {"a": 1}}', "data is a list of files"),
        ('{"data": [1]}', "data is a list of files"),
        ('{"data": ["a"], "columns": []}', "columns is a mapping"),
        ('{"data": ["a"], "columns": {"input": 3}}', "columns is a mapping"),
        ('{"data": ["a"], "backbones": ["b"]}', "backbones is a mapping"),
        ('{"data": ["a"], "test_share": "0.1"}', "test_share is a share"),
        ('{"data": ["a"], "test_share": NaN}', "NaN is no number"),
        ('{"data": ["a"], "test_share": 0.5, "validation_share": 0.5}', "leave nothing to train on"),
        ('{"data": ["a"], "policy": {"rounds": 1.0}}', r"policy\.rounds is a whole number from 1, below 2\^63; got 1\.0"),
        ('{"data": ["a"], "policy": {"protocols": {"averaging": 1}}}', r"policy\.protocols is"),
        ('{"data": ["a"], "policy": {"min_examples": -1}}', r"policy\.min_examples is a whole number from 1"),
        ('{"data": ["a.jsonl"]}', "data names 'a.jsonl'; write the whole path, from /"),
        ('{"data": ["/a"], "policy": {"bytes_per_day": 1' + "0" * 400 + "}}", r"policy\.bytes_per_day is a whole number"),
        ('{"data": ["/a"], "policy": {"reports": ["memory", 1]}}', r'policy\.reports is a list of words.*got \["memory", 1\]'),
        ('{"data": ["/a"], "policy": {"reports": {"prompt-scores": true}}}', r'got \{"prompt-scores": true\}'),
        (
            '{"data": ["/a"], "policy": {"reports": ["prompt-score"]}}',
            r"policy\.reports names 'prompt-score'; known are .*prompt-scores",
        ),
        ('{"data": ["/a"], "policy": {"reports": null}}', r"policy\.reports is a list of words.*got null"),
        ('{"data": ["/a"], "policy": {"tunings": {"lora": 4}}}', r"policy\.tunings is a list of names, or null"),
        ('{"data": ["/a"], "policy": {"protections": {"codec": {"code": "sign"}}}}', r"policy\.protections\.codec names 'code'"),
        ('{"data": ["/a"], "policy": {"protections": {"dp": {"delta": 5}}}}', r"policy\.protections\.dp\.delta is 5.*below 1"),
        ('{"data": ["/a"], "policy": {"protections": {"dp": {"unit": ""}}}}', r'policy\.protections\.dp\.unit is ""'),
        ('{"data": ["/a"], "policy": {"protections": {"dp": {"epsilon": 1e999}}}}', r"dp\.epsilon is Infinity.* finite"),
        (
            '{"data": ["/a"], "policy": {"protections": {"secure-aggregation": {"least": 2.5}}}}',
            r"least is 2\.5; .* whole number",
        ),
        (
            '{"data": ["/a"], "policy": {"tell": ["examples"], "reports": ["memory"]}}',
            r"policy\.tell is an old name of policy\.reports",
        ),
        ('["data"]', "the file must be a mapping"),
        ("null", "the file must be a mapping"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_a_site_file_in_another_form_is_refused_and_says_where(tmp_path, text, words):
    path = tmp_path / "local" / "fedtailor.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(SettingError, match=words) as refused:
        read_site_file(tmp_path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({}, ""),
        ({"reports": ["memory"]}, "permits no job at all: each needs reports of examples"),
        ({"protocols": []}, "permits no job at all: policy.protocols is empty"),
        ({"tunings": []}, "permits no job at all: policy.tunings is empty; null permits any"),
        (
            {"protocols": ["averaging", "prompting"]},
            "permits no job of prompting, though policy.protocols names it: it needs reports of prompt-scores",
        ),
        ({"protocols": ["prompting"], "reports": ["examples", "prompt-scores"]}, ""),
        (
            {"protocols": ["retrieval"]},
            "permits no job of retrieval, though policy.protocols names it: it needs reports of scores or embeddings",
        ),
        ({"protocols": ["retrieval"], "reports": ["examples", "embeddings"]}, ""),
    ],
)
def test_a_policy_that_contradicts_itself_is_said_to_its_owner(policy, words):
    first = Policy(**policy).lines()[0]
    assert words in first if words else "permits no job" not in first


def test_a_pipe_and_no_site_file_are_named(tmp_path):
    with pytest.raises(SettingError, match=r"fedtailor\.json: there is no such file, .* fedtailor site join writes it"):
        read_site_file(tmp_path)
    (tmp_path / "local").mkdir()
    os.mkfifo(tmp_path / "local" / "fedtailor.json")
    with pytest.raises(SettingError, match="is a named pipe"):
        read_site_file(tmp_path)


@pytest.mark.parametrize(
    ("columns", "changes", "names"),
    [
        ({}, {}, []),
        ({"input": "notes"}, {}, []),
        ({}, {"task": {"kind": "generation", "template": "{input} {ssn}\n{target}"}}, ["task.template names the column 'ssn'"]),
        ({"ssn": "number"}, {"task": {"kind": "generation", "template": "{input} {ssn}\n{target}"}}, []),
        (
            {},
            {"task": {"kind": "generation", "template": "{input} {label}\n{target}"}},
            ["task.template names the column 'label'"],
        ),
        ({}, {"task": {"kind": "generation", "template": "{input} {a.b} {c[0]}\n{target}"}}, ["'a.b'", "'c[0]'"]),
        ({"input": "x", "text": "y"}, {"task": {"kind": "language-modeling"}}, []),
    ],
)
def test_a_template_names_no_column_that_the_site_has_not_mapped(told, columns, changes, names):
    found = SiteFile(data=("a",), columns=columns).refusals(told(**changes))
    assert len(found) == len(names)
    assert all(name in text for name, text in zip(names, found, strict=True))


@pytest.mark.parametrize("by", ["ssn", "ssn[first]"])
def test_neither_does_any_other_setting(told, by):
    job = told()
    job["clients"] = {**job["clients"], "partition": {"kind": "natural", "by": by}}
    assert "clients.partition.by names the column 'ssn'" in SiteFile(data=("a",)).refusals(job)[0]
    job = told()
    job["task"] = {**job["task"], "prompt_template": ["{secret}"]}
    assert "task.prompt_template names the column 'secret'" in SiteFile(data=("a",)).refusals(job)[0]


def test_a_backbone_is_found_by_name_and_a_path_of_the_jobs_is_never_opened(tmp_path):
    (tmp_path / "backbones" / "sent").mkdir(parents=True)
    file = SiteFile(data=("a",), backbones={"llama": "/models/llama"})
    assert file.backbone("llama", tmp_path) == "/models/llama"
    assert file.backbone("sent", tmp_path) == str(tmp_path / "backbones" / "sent")
    assert file.backbone("smollm2-135m", tmp_path) == "smollm2-135m"
    (tmp_path / "backbones" / "owner--sent").mkdir()
    assert file.backbone("owner/sent", tmp_path) == str(tmp_path / "backbones" / "owner--sent")
    for name in ("/etc", "../local", "..", "", ".", "owner/model", "a/../b", str(tmp_path)):
        with pytest.raises(BackboneError, match="this site has no backbone"):
            file.backbone(name, tmp_path)


def test_the_bytes_of_a_day_are_counted_over_restarts(tmp_path):
    path = tmp_path / "bytes.json"
    assert Meter(path, 100).let_pass(60)
    assert not Meter(path, 100).let_pass(41)  # 101 would have passed
    assert Meter(path, 100).let_pass(40)
    assert not Meter(path, 100).let_pass(1)
    path.write_text(json.dumps({"day": "2000-01-01", "bytes": 120}))
    assert Meter(path, 100).let_pass(100)


@pytest.mark.parametrize("damage", ["damaged", "[]", '{"bytes": 1}'])
def test_a_damaged_count_ends_the_day_and_not_the_next_one(tmp_path, monkeypatch, damage):
    path = tmp_path / "bytes.json"
    path.write_text(damage)
    assert not Meter(path, 100).let_pass(1)
    monkeypatch.setattr(site_file, "_day", lambda: "2999-01-01")
    assert Meter(path, 100).let_pass(1)


def test_a_site_file_with_names_of_before_is_read(tmp_path):
    SiteFile(data=("/data/a.parquet",)).write(tmp_path)
    path = tmp_path / "local" / "fedtailor.json"
    file = json.loads(path.read_text())
    file["policy"] |= {"tell": ["examples"], "backbone_from_hub": True}
    for name in ("reports", "backbone_from_server"):
        del file["policy"][name]
    path.write_text(json.dumps(file))
    assert read_site_file(tmp_path).policy == Policy(reports=("examples",), backbone_from_server=True)
