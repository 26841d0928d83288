"""A backbone from nothing: trained on some labels, saved as what a job can start from."""

import json

import numpy as np
import pytest
from denoisers import LABELS, picture_rows

from fedtailor.assembly import assemble
from fedtailor.cli import main
from fedtailor.errors import DataError, SettingError
from fedtailor.job import Job
from fedtailor.models import shapes
from fedtailor.studies.pretrain import Pretraining, pretrain


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    shape = shapes._unet((4, 8), layers=1, groups=2, attends=(1,))
    monkeypatch.setitem(shapes.SHAPES, "unet-tiny", shape)


@pytest.fixture
def job(tmp_path):
    rows = picture_rows(each=20)
    np.savez(tmp_path / "all.npz", image=np.stack([row["image"] for row in rows]), label=[row["label"] for row in rows])
    settings = {
        "backbone": "made",
        "task": {"kind": "image-generation", "size": 8, "labels": list(LABELS)},
        "data": {"train": "all.npz"},
        "threads": 1,
    }
    return Job.from_dict(settings, base=tmp_path)


def test_a_job_can_start_from_it(job, tmp_path):
    steps = []
    how = Pretraining(only=["red", "green"], steps=60, batch_size=8)
    told = pretrain(job, tmp_path / "made", how, on_step=lambda step, of, loss: steps.append((step, loss)))
    assert [step for step, _ in steps] == list(range(1, 61))
    assert told["held_out_loss"] < 0.8 * steps[0][1]
    assert (told["pictures"], told["held_out"], len(told["sha256"])) == (36, 4, 40)
    assert json.loads((tmp_path / "made" / "pretrain.json").read_text()) == told
    notes = []
    parts = assemble(job, warn=notes.append)
    assert any("was made of 40 of the pictures of clients" in note for note in notes)
    assert parts.backbone.processor.classes == 3  # of all labels, also those that it has not seen


def test_the_same_seed_makes_the_same_weights(job, tmp_path):
    for name in ("one", "two"):
        pretrain(job, tmp_path / name, Pretraining(steps=3, batch_size=4))
    files = [(tmp_path / name / "diffusion_pytorch_model.safetensors").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


def test_a_gan_is_made_whose_running_mean_is_kept(job, tmp_path, monkeypatch):
    shape = shapes.Shape(
        kind=shapes.DCGAN,
        settings={"noise": 6, "generator_channels": [8, 4], "discriminator_channels": [4, 8]},
        halvings=2,
        learning_rate=1e-3,
    )
    monkeypatch.setitem(shapes.SHAPES, "dcgan", shape)
    gan = job.replace("stop", {"patience": None, "keep": "last"}).replace(
        "task", {"kind": "image-generation", "size": 8, "condition": "none", "objective": "adversarial"}
    )
    made = pretrain(gan, tmp_path / "made", Pretraining(shape="dcgan", steps=5, batch_size=8))
    assert (made["held_out_loss"], made["pictures"]) == (None, 54)
    parts = assemble(gan)
    assert parts.backbone.processor.answers == "adversarial"
    with pytest.raises(SettingError, match=r"no GAN: leave task\.objective out"):
        pretrain(gan, tmp_path / "other", Pretraining(shape="unet-tiny", steps=5))
    with pytest.raises(SettingError, match=r"only names labels"):
        pretrain(gan, tmp_path / "other", Pretraining(shape="dcgan", only=["red"]))


@pytest.mark.parametrize(
    ("change", "how", "text"),
    [
        ({}, {"shape": "unet-huge"}, "none of unet-tiny"),
        ({}, {"steps": 0}, "steps is a whole number"),
        ({}, {"only": ["mauve"]}, "no label 'mauve'"),
        ({"task": {"kind": "generation"}}, {}, "task: image-generation alone"),
        ({"task.size": 16}, {}, "at least 10 are needed"),
        ({"task.size": 9}, {}, "does not divide by 2"),
    ],
    ids=["shape", "steps", "label", "task", "small", "odd"],
)
def test_what_cannot_be_made(job, tmp_path, change, how, text):
    for name, value in change.items():
        job = job.replace(name, value)
    with pytest.raises((SettingError, DataError), match=text):
        pretrain(job, tmp_path / "made", Pretraining(**how))
    assert not (tmp_path / "made").exists()


def test_a_gan_is_made_by_a_job_that_says_nothing_of_rounds(tmp_path, monkeypatch):
    """Jobs of a GAN have to say how they stop, since no loss does; there are no rounds here."""
    jobs = []
    monkeypatch.setattr("fedtailor.studies.pretrain.pretrain", lambda job, *_, **__: jobs.append(job) or {"held_out_loss": None})
    task = "{kind: image-generation, objective: adversarial, condition: none}"
    (tmp_path / "public.yaml").write_text(f"backbone: b\ntask: {task}\ndata: {{train: x.parquet}}\n")
    with pytest.raises(SystemExit) as end:
        main(["pretrain", str(tmp_path / "public.yaml"), "--to", str(tmp_path / "gan"), "--shape", "dcgan"])
    assert not end.value.code
    assert jobs[0].task.objective == "adversarial"
