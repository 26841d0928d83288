import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fedtailor.errors import BackboneError, DataError, SettingError
from fedtailor.export import export, load_customized, open_run
from fedtailor.job import Job
from fedtailor.models import load_backbone, pool_mean
from fedtailor.tasks import pooling_of
from fedtailor.tuning import Lora

IDS = torch.tensor([[5, 17, 130, 240, 9], [33, 2, 2, 80, 121]])
LABELS = ["card", "straße"]
TUNING = Lora(rank=2, alpha=7)


def write_run(folder: Path, backbone_folder: Path, **task: str) -> torch.Tensor:
    """Write what a finished run leaves, with an adapter as training would make it; return its logits on IDS."""
    classifier = "bert" in backbone_folder.name
    job = Job.from_dict(
        {
            "backbone": str(backbone_folder),
            "task": {"kind": "classification", **task} if classifier else {"kind": "generation"},
            "data": {"train": "/home/anna/train.parquet"},
            "tuning": {"kind": "lora", "rank": 2, "alpha": 7},
        },
        base=folder.parent,
    )
    kind = "classifier" if classifier else "causal"
    labels = LABELS if classifier else ()
    backbone = load_backbone(
        str(backbone_folder),
        kind=kind,
        labels=labels,
        pooling=pooling_of(job.task),
        device=torch.device("cpu"),
        base=Path(),
        seed=3,
    )
    model = TUNING.attach(backbone.model, 3).eval()
    draw = torch.Generator().manual_seed(7)
    for parameter in TUNING.parameters(model).values():
        parameter.data.add_(torch.randn(parameter.shape, generator=draw) * 0.1)
    TUNING.save(model, folder / "adapter")
    (folder / "job.yaml").write_text(job.to_yaml())
    summary = {
        "rounds": 4,
        "metrics": {"before": {"loss": 2.5, "bleu": 5.25}, "after": {"loss": 1.25, "bleu": 40.125}},
        "clients": {"count": 3},
        "traffic": {"up_bytes": 12345, "down_bytes": 678},
        "backbone_sha256": backbone.hashes["weights"],
        "trainable_parameters": 1000,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return model(input_ids=IDS).logits.detach()


@pytest.fixture(params=["tiny_backbone_folder", "tiny_gpt2_folder", "tiny_bert_folder"])
def backbone_folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def auto_class(folder: Path):
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    return AutoModelForSequenceClassification if "bert" in folder.name else AutoModelForCausalLM


def test_merged_loads_with_transformers_alone(backbone_folder, tmp_path):
    wanted = write_run(tmp_path / "run", backbone_folder)
    folder = export(tmp_path / "run", to="merged", folder=tmp_path / "out")
    model = auto_class(backbone_folder).from_pretrained(folder)
    torch.testing.assert_close(model(input_ids=IDS).logits, wanted, atol=1e-5, rtol=0)
    assert not any("lora" in name for name, _ in model.named_parameters())
    if "bert" in backbone_folder.name:
        assert model.config.id2label == dict(enumerate(LABELS))


def test_peft_loads_with_peft_alone(backbone_folder, tmp_path):
    from peft import PeftModel

    wanted = write_run(tmp_path / "run", backbone_folder)
    folder = export(tmp_path / "run", to="peft", folder=tmp_path / "out")
    more = {"num_labels": 2} if "bert" in backbone_folder.name else {}
    model = PeftModel.from_pretrained(auto_class(backbone_folder).from_pretrained(backbone_folder, **more), folder).eval()
    torch.testing.assert_close(model(input_ids=IDS).logits, wanted, atol=1e-5, rtol=0)


def test_a_head_that_reads_the_mean_has_forms_of_its_own(tiny_bert_folder, tmp_path):
    wanted = write_run(tmp_path / "run", tiny_bert_folder, pooling="mean")
    torch.testing.assert_close(open_run(tmp_path / "run").model(input_ids=IDS).logits, wanted, atol=1e-6, rtol=0)
    for form, other in (("merged", "pooled"), ("peft", "adapter")):
        with pytest.raises(SettingError, match=rf"^to {form}: the head reads the mean over tokens.*try --to {other}.*pool_mean"):
            export(tmp_path / "run", to=form, folder=tmp_path / form)
    whole = export(tmp_path / "run", to="pooled", folder=tmp_path / "whole")
    plain = auto_class(tiny_bert_folder).from_pretrained(whole)
    assert not torch.allclose(plain(input_ids=IDS).logits, wanted, atol=1e-3)
    torch.testing.assert_close(pool_mean(plain)(input_ids=IDS).logits, wanted, atol=1e-5, rtol=0)
    again = load_backbone(str(whole), kind="classifier", labels=LABELS, device=torch.device("cpu"), base=Path(), seed=0)
    torch.testing.assert_close(again.model(input_ids=IDS).logits, wanted, atol=1e-5, rtol=0)
    assert json.loads((export(tmp_path / "run", to="adapter", folder=tmp_path / "a") / "head.json").read_text()) == {
        "pooling": "mean"
    }


def test_what_answers_otherwise_is_refused_with_the_form_that_works(tiny_backbone_folder, tmp_path, monkeypatch):
    import fedtailor.export.write

    write_run(tmp_path / "run", tiny_backbone_folder)
    right = fedtailor.export.write.save_whole

    def slightly_wrong(model, folder):
        model.model.norm.weight.data.mul_(1.0001)
        right(model, folder)

    def unreadable(model, folder):
        right(model, folder)
        (folder / "config.json").write_text("{")

    for writes, text in (
        (slightly_wrong, "loaded by transformers, it answers otherwise.*off by 1"),
        (unreadable, "cannot be loaded by transformers"),
    ):
        monkeypatch.setattr(fedtailor.export.write, "save_whole", writes)
        with pytest.raises(SettingError, match=rf"^to merged: .*{text}.*try --to peft"):
            export(tmp_path / "run", to="merged", folder=tmp_path / "out")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_settings_of_generation_that_contradict_each_other_are_copied(tiny_backbone_folder, tmp_path):
    # as some published models have them; transformers refuses to write them once anything of them was changed
    backbone = shutil.copytree(tiny_backbone_folder, tmp_path / "tiny-llama")
    (backbone / "generation_config.json").write_text('{"do_sample": false, "temperature": 0.6, "eos_token_id": [2, 0]}')
    tokens = json.loads((backbone / "tokenizer_config.json").read_text())
    (backbone / "tokenizer_config.json").write_text(json.dumps({**tokens, "pad_token": None}))
    config = json.loads((backbone / "config.json").read_text())
    (backbone / "config.json").write_text(json.dumps({**config, "pad_token_id": None}))
    write_run(tmp_path / "run", backbone)
    folder = export(tmp_path / "run", to="merged", folder=tmp_path / "out")
    for name in ("generation_config.json", "tokenizer_config.json"):
        assert (folder / name).read_bytes() == (backbone / name).read_bytes()
    assert json.loads((folder / "config.json").read_text())["pad_token_id"] is None
    from fedtailor.tuning import Full

    Full().save(load_backbone(str(backbone), device=torch.device("cpu"), base=Path(), seed=0).model, tmp_path / "model")
    assert (tmp_path / "model" / "generation_config.json").read_bytes() == (backbone / "generation_config.json").read_bytes()


def test_the_export_needs_no_fedtailor(tiny_backbone_folder, tmp_path):
    write_run(tmp_path / "run", tiny_backbone_folder)
    folder = export(tmp_path / "run", to="merged", folder=tmp_path / "out")
    code = (
        "import sys; sys.modules['fedtailor'] = None\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f"model, tokenizer = (kind.from_pretrained({str(folder)!r}) for kind in (AutoModelForCausalLM, AutoTokenizer))\n"
        "ids = tokenizer('The Eagle', return_tensors='pt')\n"
        "print(model.generate(**ids, max_new_tokens=3, do_sample=False).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_loaded_run_has_both_models(tiny_backbone_folder, tmp_path):
    wanted = write_run(tmp_path / "run", tiny_backbone_folder)
    done = open_run(tmp_path / "run")
    base = load_backbone(str(tiny_backbone_folder), device=torch.device("cpu"), base=Path(), seed=0).model(input_ids=IDS).logits
    torch.testing.assert_close(done.model(input_ids=IDS).logits, wanted, atol=1e-6, rtol=0)
    with done.model.disable_adapter():
        torch.testing.assert_close(done.model(input_ids=IDS).logits, base, atol=1e-6, rtol=0)
    assert torch.equal(load_customized(tmp_path / "run")(input_ids=IDS).logits, done.model(input_ids=IDS).logits)


def test_the_card_reports_what_was_done_and_no_paths(tiny_backbone_folder, tmp_path):
    write_run(tmp_path / "run", tiny_backbone_folder)
    card = (export(tmp_path / "run", to="peft", folder=tmp_path / "out") / "README.md").read_text()
    for text in ("base_model: tiny-llama", "| loss | 2.5 | 1.25 |", "| bleu | 5.25 | 40.12 |", "12,345 bytes up", "3 clients"):
        assert text in card
    prose = card.split("## Settings")[0]
    assert "train.parquet" in prose
    assert "/home/anna" not in prose
    assert str(tmp_path) not in prose


def test_what_cannot_be_exported_is_refused_and_nothing_written(tiny_backbone_folder, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    with pytest.raises(DataError, match="not the folder of a finished run"):
        export(run, to="merged", folder=out)
    write_run(run, tiny_backbone_folder)
    with pytest.raises(SettingError, match="to is merged or peft"):
        export(run, to="onnx", folder=out)
    with pytest.raises(SettingError, match="is not empty"):
        export(run, to="peft", folder=run)
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "backbone_sha256": "0" * 64}))
    with pytest.raises(BackboneError, match="fits no other weights"):
        export(run, to="merged", folder=out)
    (run / "summary.json").unlink()
    with pytest.raises(DataError, match=r"has no summary\.json.*--resume"):
        export(run, to="merged", folder=out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_finished_local_baseline_points_to_its_clients(tiny_backbone_folder, tmp_path):
    run = tmp_path / "run"
    write_run(run, tiny_backbone_folder)
    (run / "environment.json").write_text('{"baseline": "local"}')
    (run / "clients" / "a" / "alone").mkdir(parents=True)
    (run / "adapter").rename(run / "clients" / "a" / "alone" / "adapter")
    with pytest.raises(DataError, match=r"lies in clients/ID/alone.*run/clients/a/alone$"):
        open_run(run)


def test_a_baseline_that_was_interrupted_is_started_again(tiny_backbone_folder, tmp_path):
    write_run(tmp_path, tiny_backbone_folder)
    (tmp_path / "environment.json").write_text('{"baseline": "central"}')
    (tmp_path / "summary.json").unlink()
    with pytest.raises(DataError, match="--baseline central") as fault:
        open_run(tmp_path)
    assert "--resume" not in str(fault.value)


def test_a_summary_of_another_form_is_named(tiny_backbone_folder, tmp_path):
    write_run(tmp_path, tiny_backbone_folder)
    (tmp_path / "summary.json").write_text("[]")
    with pytest.raises(DataError, match=r"summary\.json holds no summary"):
        open_run(tmp_path)
