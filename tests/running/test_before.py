"""The figures before are those of the backbone alone, whatever a tuning begins with; training continues from what it begins with."""

import json
import math

import pytest
import torch
from jobs import tiny_job, tiny_rows
from safetensors.torch import load_file

from fedtailor.cli.tryout import answers
from fedtailor.running import run

BEGIN = {
    "lora": {"kind": "lora", "rank": 2},
    "prefix": {"kind": "prefix", "length": 3, "hidden": 8},
    "prompt": {"kind": "prompt", "length": 3},
    "fourier": {"kind": "peft", "type": "FOURIERFT", "arguments": {"n_frequency": 16}},
    "fourier-elsewhere": {"kind": "peft", "type": "FOURIERFT", "arguments": {"n_frequency": 16, "init_weights": False}},
    "loha-elsewhere": {"kind": "peft", "type": "LOHA", "arguments": {"r": 2, "init_weights": False}},
    "pissa": {"kind": "peft", "type": "LORA", "arguments": {"r": 2, "init_lora_weights": "pissa"}},
}


@pytest.fixture(scope="module")
def finished(tiny_backbone_folder, tmp_path_factory):
    """Return a maker of finished runs, and what was noted in them."""
    made = {}

    def give(name):
        if name not in made:
            notes, folder = [], tmp_path_factory.mktemp("before") / name
            job = tiny_job(tiny_backbone_folder, tuning=BEGIN[name], stop__rounds=1, evaluation__metrics=["loss"])
            result = run(
                job,
                data=tiny_rows(),
                out=folder,
                watcher=lambda kind, facts: notes.append(facts["text"]) if kind == "warning" else None,
            )
            made[name] = result, " ".join(notes)
        return made[name]

    return give


@pytest.mark.few(3)
@pytest.mark.parametrize("name", [name for name in BEGIN if name != "lora"])
def test_before_is_the_backbone(name, finished):
    (result, notes), (plain, _) = finished(name), finished("lora")
    for key in ("metrics", "validation_loss"):
        before, wanted = (found.summary[key]["before"] for found in (result, plain))
        before, wanted = (value["loss"] if isinstance(value, dict) else value for value in (before, wanted))
        assert math.isclose(before, wanted, rel_tol=1e-5), key
    assert result.summary["best_round"] in ((0, 1) if name in ("fourier", "pissa") else (1,))
    assert ("begins as the backbone" in notes) == (name == "fourier")
    assert ("changes what the model answers before any training" in notes) == name.endswith("elsewhere")


@pytest.mark.parametrize("name", BEGIN)
def test_try_shows_what_the_plain_backbone_writes(name, finished, tiny_backbone_folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(tiny_backbone_folder) for kind in (AutoModelForCausalLM, AutoTokenizer))
    ids = tokenizer("The Eagle\n", add_special_tokens=False, return_tensors="pt")["input_ids"]
    written = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=4, pad_token_id=3)
    before, _ = answers(finished(name)[0].folder, ["The Eagle"], {})
    assert before == [tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).strip()]


def test_full_starts_from_the_weights_of_the_file_in_every_precision(tiny_backbone_folder, tmp_path):
    start = load_file(tiny_backbone_folder / "model.safetensors")
    for precision in ("bfloat16", "float32"):
        job = tiny_job(
            tiny_backbone_folder, tuning={"kind": "full"}, precision=precision, stop__rounds=1, stop__keep="last",
            protocol__local__learning_rate=1e-12, evaluation__metrics=["loss"],
        )  # fmt: skip
        run(job, data=tiny_rows(), out=tmp_path / precision)
        end = load_file(tmp_path / precision / "model" / "model.safetensors")
        assert max(float((start[name] - end[name]).abs().max()) for name in start) < 1e-10
        assert json.loads((tmp_path / precision / "summary.json").read_text())["precision"] == precision


def test_a_start_that_changes_rounded_weights_is_refused(tiny_backbone_folder, tmp_path):
    from fedtailor.errors import SettingError

    job = tiny_job(tiny_backbone_folder, tuning=BEGIN["pissa"], precision="bfloat16")
    with pytest.raises(SettingError, match=r"init_lora_weights: pissa changes the backbone's weights.*precision: float32"):
        run(job, data=tiny_rows(), out=tmp_path / "r")
