"""Whole jobs of GANs: the discriminator at home or averaged, resumed as unbroken, by every rule; and what goes by a loss is refused."""

import pytest
import torch
from denoisers import gan_folder, gan_job, picture_rows, unet_folder  # noqa: F401  fixtures
from jobs import adapter, assert_same_adapter
from safetensors.torch import load_file

from fedtailor.assembly import assemble
from fedtailor.errors import BackboneError, JobError, SettingError
from fedtailor.export import export, open_run
from fedtailor.running import run
from fedtailor.tasks.images.samples import make_pictures
from fedtailor.tasks.images.sampling import Sampling

ROWS = picture_rows()


@pytest.fixture
def job(gan_folder):  # noqa: F811
    return lambda **changes: gan_job(gan_folder, **changes)


def kept(folder):
    """Return the discriminator that each client keeps."""
    files = sorted((folder / "clients").glob("*/**/*.safetensors"))
    found = {file.parts[file.parts.index("clients") + 1]: load_file(file) for file in files}
    return {name: {key: value for key, value in held.items() if "discriminator" in key} for name, held in found.items()}


@pytest.mark.parametrize("tuning", [{"kind": "lora", "rank": 2, "alpha": 4}, {"kind": "full"}], ids=lambda value: value["kind"])
def test_the_generator_travels_and_each_client_keeps_its_discriminator(job, tmp_path, tuning):
    parts = assemble(job(tuning=tuning), given=ROWS)
    assert all("generator" in name for name in parts.worker.tensors())
    assert all("discriminator" in name for name in parts.worker.home)
    found = run(job(tuning=tuning), data=ROWS, out=tmp_path / "run")
    assert found.summary["rounds"] == 2
    assert found.summary["metrics"]["after"]["examples"] == 12
    assert "loss" not in found.summary["metrics"]["after"]
    homes = list(kept(tmp_path / "run").values())
    assert len(homes) == 3
    assert not torch.equal(*(next(iter(home.values())) for home in homes[:2]))


def test_averaged_it_travels_too(job):
    parts = assemble(job(task__discriminator="averaged"), given=ROWS)
    assert not parts.worker.home
    assert any("discriminator" in name for name in parts.worker.tensors())


def test_resumed_as_unbroken(job, tmp_path):
    run(job(protocol__local__keep_optimizer=True), data=ROWS, out=tmp_path / "whole")
    run(job(protocol__local__keep_optimizer=True, stop__rounds=1), data=ROWS, out=tmp_path / "first")
    run(job(protocol__local__keep_optimizer=True), data=ROWS, resume=tmp_path / "first")
    assert_same_adapter(tmp_path / "whole", tmp_path / "first")
    whole, first = kept(tmp_path / "whole"), kept(tmp_path / "first")
    assert all(torch.equal(value, first[client][name]) for client, held in whole.items() for name, value in held.items())


@pytest.mark.parametrize(("rule", "discriminator"), [("flora", "averaged"), ("fedex-lora", "averaged"), ("flexlora", "home")])
def test_rules_take_the_factors_of_the_generator(job, tmp_path, rule, discriminator):
    changes = {"task__discriminator": discriminator, "protocol__aggregation": {"kind": rule}, "stop__rounds": 1}
    run(job(**changes), data=ROWS, out=tmp_path / "run")
    assert adapter(tmp_path / "run")


def test_a_rule_that_sends_something_else_needs_it_averaged(job):
    with pytest.raises(JobError, match=r"task\.discriminator: home does not go with aggregation: flora.*averaged"):
        assemble(job(protocol__aggregation={"kind": "flora"}), given=ROWS)


@pytest.mark.parametrize("to", ["merged", "peft"])
def test_what_is_exported_makes_the_same_pictures(job, tmp_path, to, monkeypatch):
    import re

    run(job(stop__rounds=1), data=ROWS, out=tmp_path / "run")
    place = export(tmp_path / "run", to=to, folder=tmp_path / "out")
    (code,) = re.findall(r"```python\n(.*?)```", (place / "README.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "pictures.png").is_file()
    done = open_run(tmp_path / "run")
    pictures = make_pictures(done.model, done.backbone.processor, [0] * 7, Sampling(batch=7))
    assert (pictures == make_pictures(done.model, done.backbone.processor, [0] * 7, Sampling(batch=3))).mean() > 0.99


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"stop__patience": 3}, r"stop.patience does not go with .*neither loss of a GAN says .*set stop: \{patience: null"),
        ({"stop__keep": "best"}, r"stop.keep: best does not go with .*keep: last"),
        ({"evaluation__local_gain": True}, "evaluation.local_gain does not go with"),
        ({"personalization": {"kind": "ditto"}}, "task.discriminator: home does not go with personalization: ditto"),
        (
            {"protocol__local__privacy": {"kind": "dp-sgd", "noise_multiplier": 1.0}},
            "dp-sgd does not go with .*where a GAN has two",
        ),
        ({"task__condition": "class"}, "set condition: none"),
        ({"task__discriminator": "away"}, "must be 'home' or 'averaged'"),
    ],
    ids=["patience", "best", "gain", "ditto", "dp-sgd", "class", "discriminator"],
)
def test_what_does_not_go_with_a_gan(job, changes, text):
    with pytest.raises(SettingError, match=text):
        job(**changes)


def test_backbones_and_objectives_that_do_not_belong_together(job, unet_folder):  # noqa: F811
    with pytest.raises(BackboneError, match=r"task.objective: adversarial needs a Dcgan"):
        assemble(gan_job(unet_folder), given=ROWS)
    with pytest.raises(JobError, match="do not go together"):
        assemble(job(tuning={"kind": "adapter"}), given=ROWS)
