"""A run of pictures as other tools load it: whole, as PEFT's adapter, and as pictures before and after."""

import re

import numpy as np
import pytest
import torch
from denoisers import LABELS, SIZE, picture_job, picture_rows, unet_folder, write_denoiser  # noqa: F401  fixtures
from PIL import Image

from fedtailor.cli.draw import draw
from fedtailor.errors import SettingError
from fedtailor.export import export, open_run
from fedtailor.pictures import Canvas
from fedtailor.running import run
from fedtailor.tasks.images.samples import make_pictures
from fedtailor.tasks.images.sampling import Sampling


@pytest.fixture(scope="module", params=["lora", "full"])
def finished(request, unet_folder, tmp_path_factory):  # noqa: F811
    tuning = {"kind": "lora", "rank": 2, "alpha": 6} if request.param == "lora" else {"kind": "full"}
    place = tmp_path_factory.mktemp(request.param) / "run"
    run(picture_job(unet_folder, tuning=tuning, stop__rounds=1), data=picture_rows(), out=place)
    return place


@pytest.mark.few(2)
@pytest.mark.parametrize("to", ["merged", "peft"])
def test_the_card_runs_as_it_stands(finished, tmp_path, monkeypatch, to):
    if to == "peft" and not (finished / "adapter").is_dir():
        with pytest.raises(SettingError, match="do not go together"):
            export(finished, to=to, folder=tmp_path / "out")
        return
    place = export(finished, to=to, folder=tmp_path / "out")
    assert (place / "labels.json").read_text() == '["red", "green", "blue"]\n'
    (code,) = re.findall(r"```python\n(.*?)```", (place / "README.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert np.asarray(Image.open(tmp_path / "pictures.png")).shape == (SIZE, 8 * SIZE, 3)


@pytest.mark.few(1)
@pytest.mark.parametrize("objective", ["epsilon", "v"])
def test_a_model_of_diffusion_learns_and_its_card_runs(tmp_path, monkeypatch, objective):
    backbone = write_denoiser(tmp_path / "unet", objective=objective)
    local = {"learning_rate": 0.03, "batch_size": 4, "steps": 10}
    job = picture_job(backbone, stop__rounds=1, protocol__local=local)
    figures = run(job, data=picture_rows(), out=tmp_path / "run").summary["metrics"]
    assert figures["after"]["loss"] < figures["before"]["loss"]
    place = export(tmp_path / "run", to="peft", folder=tmp_path / "out")
    (code,) = re.findall(r"```python\n(.*?)```", (place / "README.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert np.asarray(Image.open(tmp_path / "pictures.png")).shape == (SIZE, 8 * SIZE, 3)
    done = open_run(tmp_path / "run")
    assert done.backbone.processor.answers == objective
    assert make_pictures(done.model, done.backbone.processor, [0, 1], Sampling(steps=3)).shape == (2, SIZE, SIZE, 3)


def test_samples_do_not_hang_on_the_batch(finished):
    model = open_run(finished).model
    canvas, labels = Canvas(size=SIZE, classes=3), [0, 1, 2, 3, 0, 1, 2]
    whole = make_pictures(model, canvas, labels, Sampling(steps=3))
    parts = make_pictures(model, canvas, labels, Sampling(steps=3, batch=2))
    alone = make_pictures(model, canvas, labels[5:6], Sampling(steps=3), first=5)
    assert np.abs(whole.astype(int) - parts).max() <= 1
    assert np.abs(whole[5].astype(int) - alone[0]).max() <= 1
    assert not np.array_equal(whole[0], whole[4])
    torch.manual_seed(3)
    assert np.array_equal(whole, make_pictures(model, canvas, labels, Sampling(steps=3)))


def test_a_sheet_shows_before_and_after(finished, tmp_path):
    draw(finished, ["blue", "red"], tmp_path / "sheet.png", steps=2, guidance=2.0, count=3)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert sheet.shape == (8 * (2 * (SIZE + 2) + 2), 8 * (6 * (SIZE + 2) + 2 + 6), 3)


@pytest.mark.parametrize(
    ("names", "path", "count", "text"),
    [(["mauve"], "a.png", 3, "no label 'mauve'"), ([], "a.jpg", 3, "no PNG"), ([], "no/a.png", 3, "no PNG"), ([], "a.png", 0, "1 to 100")],
)  # fmt: skip
def test_a_sheet_that_cannot_be(  # noqa: PLR0917
    finished, tmp_path, names, path, count, text
):
    with pytest.raises(SettingError, match=text):
        draw(finished, names, tmp_path / path, steps=2, guidance=1.0, count=count)


def test_guidance_needs_labels():
    with pytest.raises(SettingError, match="takes no label"):
        make_pictures(torch.nn.Linear(1, 1), Canvas(size=SIZE), [0], Sampling(guidance=2.0))
