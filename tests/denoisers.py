"""Tiny random denoisers of diffusers, as folders, and pictures for them."""

import json
from pathlib import Path

import numpy as np
import pytest

LABELS = ("red", "green", "blue")
SIZE = 8


def write_denoiser(folder: Path, kind: str = "unet", *, labels=LABELS, size=SIZE, objective="flow") -> Path:
    """Write a UNet of 5,000 weights, or a DiT, for pictures of 8 × 8."""
    from fedtailor.models.shapes import Shape, write_denoiser

    unet = {
        "in_channels": 3, "out_channels": 3, "block_out_channels": [4, 8], "layers_per_block": 1, "norm_num_groups": 2, "attention_head_dim": 4,
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    }  # fmt: skip
    dit = {
        "in_channels": 3, "out_channels": 3, "num_attention_heads": 2, "attention_head_dim": 4, "num_layers": 2, "patch_size": 4, "norm_num_groups": 2,
    }  # fmt: skip
    shape = Shape(
        kind="UNet2DModel" if kind == "unet" else "DiTTransformer2DModel",
        settings=unet if kind == "unet" else dit,
        halvings=1,
        learning_rate=1e-3,
    )
    write_denoiser(shape, folder, size=size, labels=labels, seed=0, objective=objective)
    return folder


@pytest.fixture(scope="session")
def unet_folder(tmp_path_factory):
    return write_denoiser(tmp_path_factory.mktemp("unet") / "unet")


@pytest.fixture(scope="session")
def dit_folder(tmp_path_factory):
    return write_denoiser(tmp_path_factory.mktemp("dit") / "dit", "dit")


@pytest.fixture(scope="session")
def gan_folder(tmp_path_factory):
    """A GAN of 2,500 weights for pictures of 8 × 8."""
    from fedtailor.models.shapes import DCGAN, Shape, write_gan

    settings = {"noise": 6, "generator_channels": [8, 4], "discriminator_channels": [4, 8]}
    folder = tmp_path_factory.mktemp("gan") / "gan"
    write_gan(Shape(kind=DCGAN, settings=settings, halvings=2, learning_rate=1e-3), folder, size=SIZE, seed=0)
    return folder


def gan_job(backbone, **changes):
    """Return `picture_job` with a GAN; `changes` as there."""
    task = {"kind": "image-generation", "size": SIZE, "condition": "none", "objective": "adversarial"}
    return picture_job(backbone, **{"stop": {"rounds": 2, "patience": None, "keep": "last"}, "task": task, **changes})


def picture_rows(each: int = 20, size: int = SIZE):
    """Return pictures of three colours, each with noise of its own."""
    draw = np.random.default_rng(0)
    rows = []
    for number, label in enumerate(LABELS):
        for _ in range(each):
            pixels = draw.integers(0, 80, (size, size, 3))
            pixels[:, :, number] += 150
            rows.append({"image": pixels.astype(np.uint8), "label": label})
    return rows


def picture_job(backbone, **changes):
    """Return a job of 3 clients; `changes` are dotted settings with __ for the dots."""
    from fedtailor.job import Job

    job = Job.from_dict(
        {
            "name": "pictures",
            "backbone": str(backbone),
            "task": {"kind": "image-generation", "size": SIZE, "labels": list(LABELS)},
            "data": {"train": "given-in-memory.parquet"},
            "clients": {"count": 3, "min_examples": 4, "validation_share": 0.2, "test_share": 0.2},
            "tuning": {"kind": "lora", "rank": 2, "alpha": 4},
            "protocol": {"kind": "averaging", "local": {"learning_rate": 0.01, "batch_size": 4, "steps": 2}},
            "stop": {"rounds": 2, "patience": None},
            "threads": 1,
        }
    )
    for name, value in changes.items():
        job = job.replace(name.replace("__", "."), value)
    return job


def edited(folder: Path, to: Path, **settings) -> Path:
    """Copy a denoiser's folder with changed settings; None removes one."""
    import shutil

    shutil.copytree(folder, to)
    config = json.loads((to / "config.json").read_text()) | settings
    (to / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    return to
