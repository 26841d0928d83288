"""Settings of distillation that cannot be."""

import pytest
from distilling import class_data, class_job

from fedtailor.assembly import assemble
from fedtailor.errors import DataError, SettingError
from fedtailor.job import Job
from fedtailor.running import run


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"public": 3}, r"public names the public examples.*rest.*got 3"),
        ({"public": []}, "public names the public examples"),
        ({"public_limit": 0}, "public_limit is a number"),
        ({"slice": 0.0}, r"slice is a share, in \(0, 1\]"),
        ({"quorum": 1.5}, "quorum is a share"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"weight": 1.1}, "weight is the share of KL"),
        ({"top_k": 0}, "top_k is a number of entries"),
        ({"wire": "int4"}, "protocol.wire"),
        ({"label_epsilon": 1.0}, "label counts, which are not reported; set label_counts: true"),
        ({"label_counts": True, "label_epsilon": 0.0}, "label_epsilon must be above 0"),
        ({"aggregation": {"kind": "label-counts"}}, "label_counts: true.*entropy-weights"),
        ({"aggregation": {"kind": "fedavg"}}, "'fedavg', which is no aggregation of logits"),
        ({"aggregation": {"kind": "ensemble"}, "back": "consensus"}, "back: consensus does not go with aggregation: ensemble"),
        ({"distil": {"learning_rate": -1.0}}, "learning_rate"),
        ({"quorm": 0.5}, r"protocol\.quorm is not a setting; did you mean protocol\.quorum"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(wrong, why):
    job = {"backbone": "b", "task": {"kind": "generation"}, "data": {"train": "a.jsonl"}}
    with pytest.raises(SettingError, match=why):
        Job.from_dict(job | {"protocol": {"kind": "distillation", "public": "rest"} | wrong})


def test_the_public_set_must_be_named():
    job = {"backbone": "b", "task": {"kind": "generation"}, "data": {"train": "a.jsonl"}}
    with pytest.raises(SettingError, match=r"protocol\.public is missing\. Write public: FILE.*rest"):
        Job.from_dict(job | {"protocol": "distillation"})


def test_personalization_is_not_needed():
    job = {"backbone": "b", "task": {"kind": "generation"}, "data": {"train": "a.jsonl"}, "personalization": "finetune"}
    with pytest.raises(SettingError, match=r"finetune does not go with protocol: distillation.*model of its own"):
        Job.from_dict(job | {"protocol": {"kind": "distillation", "public": "rest"}})


def test_a_job_comes_back_from_its_text(tmp_path):
    job = class_job("b", p_aggregation={"kind": "entropy-reduced", "temperature": 0.2}, p_top_k=2)
    (tmp_path / "job.yaml").write_text(job.to_yaml())
    assert Job.load(tmp_path / "job.yaml").differences(job) == []


def test_what_the_parts_refuse(tiny_bert_folder, tiny_backbone_folder, make_job, rows):
    with pytest.raises(SettingError, match=r"rest stands for.*leaves none out.*limit"):
        assemble(class_job(tiny_bert_folder, data__limit={"train": 90}), given=class_data())
    with pytest.raises(SettingError, match=r"top_k: 3 is no part of the 3 entries"):
        assemble(class_job(tiny_bert_folder, p_top_k=3), given=class_data())
    protocol = {"kind": "distillation", "public": "rest", "label_counts": True}
    with pytest.raises(SettingError, match="label_counts does not go with task: generation"):
        assemble(make_job(protocol=protocol, data__limit={"train": 36}), given=rows)
    protocol = {"kind": "distillation", "public": "rest", "aggregation": {"kind": "entropy-reduced", "temperature": 1.0}}
    with pytest.raises(SettingError, match="a class of 300 that all clients are sure of"):
        assemble(make_job(protocol=protocol, data__limit={"train": 36}), given=rows)


def test_what_comes_to_nothing_is_said(tiny_bert_folder):
    said = []
    changes = {
        "p_public_limit": 5,
        "p_slice": 0.5,
        "p_refine": "label-statistics",
        "p_label_counts": True,
        "p_label_epsilon": 1.0,
    }
    assemble(class_job(tiny_bert_folder, **changes), given=class_data(), warn=said.append)
    assemble(class_job(tiny_bert_folder, p_refine_every=7, p_public_limit=31), given=class_data(), warn=said.append)
    for words in (
        "rows are scored from 8 examples on, of a client's own and of public ones, and somebody has 5: label counts alone",
        "refine_every does nothing without refine",
        "public_limit is 31, and there are 30 public examples: all of them are taken",
    ):
        assert any(words in text for text in said), said
    said.clear()
    assemble(class_job(tiny_bert_folder, p_public_limit=30), given=class_data(), warn=said.append)
    assert not any("public_limit" in text or "refine" in text for text in said)


def test_the_rest_has_no_held_out_inputs(make_job, rows):
    twins = [*rows, *({**row, "target": f"{row['target']} Yes."} for row in rows)]
    warnings = []
    job = make_job(protocol={"kind": "distillation", "public": "rest", "public_limit": 7}, data__limit={"train": 48})
    parts = assemble(job, given=twins, warn=warnings.append)
    held_out = {
        e.fields["input"] for part in (parts.divided.test, parts.divided.validation) for own in part.values() for e in own
    }
    assert len(parts.public) == 7
    assert held_out.isdisjoint(e.fields["input"] for e in parts.public)
    assert any("public rows are left out: their input stands in validation or test data too" in text for text in warnings)


class TestRefused:
    """What cannot be, and is said before any work."""

    def test_no_file(self, tiny_bert_folder, tmp_path):
        with pytest.raises(DataError, match=r"protocol\.public: there is no file .*nothing\.jsonl"):
            run(class_job(tiny_bert_folder, p_public="nothing.jsonl", base=str(tmp_path)), data=class_data(), out=tmp_path / "r")
        assert not (tmp_path / "r").exists()

    def test_other_columns(self, tiny_bert_folder, tmp_path):
        (tmp_path / "public.jsonl").write_text('{"question": "a", "label": "card"}\n')
        said = r"protocol\.public: .*public\.jsonl has no column 'text'.*it has label, question; rename the column in that file"
        with pytest.raises(DataError, match=said):
            run(class_job(tiny_bert_folder, p_public="public.jsonl", base=str(tmp_path)), data=class_data(), out=tmp_path / "r")

    def test_labels_alone_and_none_there(self, tiny_bert_folder, tmp_path):
        (tmp_path / "public.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
        job = class_job(tiny_bert_folder, p_public="public.jsonl", p_weight=0.0, base=str(tmp_path))
        with pytest.raises(
            SettingError, match=r"weight: 0 learns from the labels of public examples alone, and none of the 2 has one"
        ):
            run(job, data=class_data(), out=tmp_path / "r")
        (tmp_path / "public.jsonl").write_text('{"text": "a", "label": "card"}\n{"text": "b"}\n')
        said = []
        assemble(job, given=class_data(), warn=said.append)
        assert any("labels alone: 1 public examples have none" in text for text in said)

    def test_a_label_of_another_world(self, tiny_bert_folder, tmp_path):
        (tmp_path / "public.jsonl").write_text('{"text": "a", "label": "zoo"}\n')
        with pytest.raises(DataError, match=r"'zoo'.*knows 3 labels"):
            run(class_job(tiny_bert_folder, p_public="public.jsonl", base=str(tmp_path)), data=class_data(), out=tmp_path / "r")
