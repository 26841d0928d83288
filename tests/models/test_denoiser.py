"""Denoisers are loaded from folders of diffusers, and what is none is refused by what is wrong with it."""

import json
import shutil

import numpy as np
import pytest
import torch
from denoisers import LABELS, SIZE, dit_folder, edited, unet_folder, write_denoiser  # noqa: F401  fixtures

from fedtailor.errors import BackboneError, SettingError
from fedtailor.models import load_backbone
from fedtailor.models.shapes import write_random
from fedtailor.pictures import Canvas, picture_of
from fedtailor.records import Example
from fedtailor.tasks import ImageGeneration


def load(folder, labels=LABELS, precision="float32"):
    return load_backbone(
        str(folder), kind="denoiser", labels=labels, precision=precision, device=torch.device("cpu"), base=folder.parent, seed=0
    )


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_it_is_what_diffusers_loads(kind, request):
    import diffusers

    folder = request.getfixturevalue(f"{kind}_folder")
    backbone = load(folder)
    theirs = getattr(diffusers, type(backbone.model).__name__).from_pretrained(folder).eval().requires_grad_(False)
    noisy, time, label = torch.randn(2, 3, SIZE, SIZE), torch.tensor([10.0, 500.0]), torch.tensor([0, 3])
    with torch.inference_mode():
        assert torch.equal(backbone.model(noisy, time, label).sample, theirs(noisy, time, label).sample)
    assert backbone.processor == Canvas(size=SIZE, classes=3)
    assert backbone.hashes["weights"] != load(write_denoiser(folder.parent / "none", labels=()), labels=()).hashes["weights"]


def test_a_dit_drops_no_label_by_itself(dit_folder):  # noqa: F811
    model = load(dit_folder).model.train()
    noisy, time, label = torch.randn(64, 3, SIZE, SIZE), torch.full((64,), 500.0), torch.zeros(64, dtype=torch.int64)
    assert torch.equal(model(noisy, time, label).sample, model(noisy, time, label).sample)


@pytest.mark.parametrize(
    ("settings", "labels", "text"),
    [
        ({"_class_name": "UNet2DConditionModel"}, LABELS, "needs a UNet2DModel or DiTTransformer2DModel"),
        ({"_class_name": None, "model_type": "llama"}, LABELS, "'llama' of transformers"),
        ({"in_channels": 1}, LABELS, "in_channels is 1.*must both"),
        ({"sample_size": None}, LABELS, "sample_size is None"),
        ({"block_out_channels": [4, 16]}, LABELS, "could not be loaded as a UNet2DModel"),
        ({"block_out_channels": [4, 8_000_000]}, LABELS, "all files of the backbone hold"),
        ({"norm_num_groups": 3}, LABELS, "could not be loaded as a UNet2DModel"),
        ({}, ("green", "red", "blue"), "task.labels are green, red, blue, and the backbone in .* knows red, green, blue"),
        ({}, (), "task.condition is none"),
        ({"num_class_embeds": None}, LABELS, "takes no label"),
        ({"num_class_embeds": 3}, LABELS, "one of which must stand for no label"),
    ],
    ids="conditional llama grey size weights bomb groups order none without null".split(),
)
def test_folders_of_something_else(unet_folder, tmp_path, settings, labels, text):  # noqa: F811
    with pytest.raises((BackboneError, SettingError), match=text):
        load(edited(unet_folder, tmp_path / "other", **settings), labels)


@pytest.mark.parametrize(
    ("scheduler", "text"),
    [
        (None, "has no scheduler_config.json"),
        (
            {"_class_name": "DDPMScheduler", "prediction_type": "sample"},
            "prediction_type is 'sample', and epsilon and v_prediction",
        ),
        ({"_class_name": "ScoreSdeVeScheduler"}, "was trained for a 'ScoreSdeVeScheduler'"),
        ({"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True}, "noise alone is the last level"),
        ({"_class_name": "DDPMScheduler", "beta_schedule": "steep"}, "describes no levels of noise"),
        ({"_class_name": "DDPMScheduler", "num_train_timesteps": -3}, "describes no levels of noise"),
        ({"_class_name": "DDPMScheduler", "trained_betas": [0.1, "x"]}, "describes no levels of noise"),
    ],
    ids=["none", "sample", "ve", "zero-snr", "schedule", "levels", "betas"],
)
def test_other_objectives_are_refused(unet_folder, tmp_path, scheduler, text):  # noqa: F811
    folder = shutil.copytree(unet_folder, tmp_path / "other")
    (folder / "scheduler_config.json").unlink()
    if scheduler:
        (folder / "scheduler_config.json").write_text(json.dumps(scheduler))
    with pytest.raises(BackboneError, match=text):
        load(folder)


@pytest.mark.parametrize(("said", "answers"), [(None, "epsilon"), ("epsilon", "epsilon"), ("v_prediction", "v")])
def test_the_scheduler_says_what_the_model_answers_and_how_much_noise_there_is(unet_folder, tmp_path, said, answers):  # noqa: F811
    from diffusers import DDIMScheduler

    folder = shutil.copytree(unet_folder, tmp_path / "other")
    settings = {"num_train_timesteps": 50, "beta_schedule": "scaled_linear"}
    scheduler = {"_class_name": "PNDMScheduler", **settings, **({"prediction_type": said} if said else {})}
    (folder / "scheduler_config.json").write_text(json.dumps(scheduler))
    canvas = load(folder).processor
    assert canvas.answers == answers
    assert canvas.kept == tuple(DDIMScheduler(**settings).alphas_cumprod.tolist())
    example = [Example(id="a", fields={"image": picture_of(np.zeros((SIZE, SIZE, 3), np.uint8)), "label": "red"})]
    with pytest.raises(SettingError, match=rf"objective is flow, and the backbone was made to answer with {answers}"):
        ImageGeneration(size=SIZE, labels=LABELS, objective="flow").prepare(example, canvas, keep_examples=False)


def test_operations_are_those_of_convolutions(tmp_path):
    write_random("unet-tiny", tmp_path, size=32, labels=LABELS, seed=0)
    assert 2 * load(tmp_path).body_parameters == pytest.approx(190e6, rel=0.01)  # 2 N would be 1.4 million


def test_weights_that_are_not_finite(unet_folder, tmp_path):  # noqa: F811
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(unet_folder, tmp_path / "other")
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    weights["conv_in.weight"][0] = torch.nan
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    with pytest.raises(BackboneError, match=r"of the weight conv_in\.weight are NaN"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "size", "labels", "text"),
    [
        ("unet-huge", 32, LABELS, "none of unet-tiny"),
        ("unet-tiny", 30, LABELS, "divide by 4"),
        ("dit-tiny", 32, (), "always takes a label"),
    ],
)
def test_shapes_that_cannot_be(tmp_path, name, size, labels, text):
    with pytest.raises(SettingError, match=text):
        write_random(name, tmp_path, size=size, labels=labels, seed=0)
