"""Shapes of models of pictures that can be made from nothing, by name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..chance import stream_seed, torch_draws
from ..errors import SettingError
from .dcgan import CLASS as DCGAN
from .dcgan import Dcgan
from .kinds.denoiser import EMBEDDED, LABELS, build_denoiser
from .scheduler import FLOW, PREDICTS, SCHEDULER

COSINE = "squaredcos_cap_v2"  # Nichol and Dhariwal, 2021, arXiv:2102.09672, section 3.2: for small pictures
DIT = "DiTTransformer2DModel"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A class of diffusers, or ours of GANs, with its settings but for the size of pictures and the labels."""

    kind: str
    settings: Mapping[str, Any]
    halvings: int  # how often the side of a picture must divide by two
    learning_rate: float  # that it is usually trained with


def _unet(channels: tuple[int, ...], *, layers: int, groups: int, attends: tuple[int, ...]) -> Shape:
    """Return a UNet; `attends` are the levels with attention, from 0 at the full size."""
    down = ["AttnDownBlock2D" if level in attends else "DownBlock2D" for level in range(len(channels))]
    return Shape(
        kind="UNet2DModel",
        settings={
            "in_channels": 3,
            "out_channels": 3,
            "block_out_channels": list(channels),
            "layers_per_block": layers,
            "norm_num_groups": groups,
            "down_block_types": down,
            "up_block_types": [name.replace("Down", "Up") for name in reversed(down)],
        },
        halvings=len(channels) - 1,
        learning_rate=2e-3 if channels[-1] <= 128 else 2e-4,
    )


def _dit(width: int, *, layers: int, heads: int, patch: int) -> Shape:
    return Shape(
        kind=DIT,
        settings={
            "in_channels": 3,
            "out_channels": 3,
            "num_attention_heads": heads,
            "attention_head_dim": width // heads,
            "num_layers": layers,
            "patch_size": patch,
        },
        halvings=patch.bit_length() - 1,
        learning_rate=1e-3 if width <= 128 else 2e-4,
    )


SHAPES: Mapping[str, Shape] = {
    "unet-tiny": _unet((16, 32, 64), layers=1, groups=8, attends=(2,)),
    "unet-small": _unet((32, 64, 128), layers=1, groups=8, attends=(2,)),
    "unet-base": _unet((128, 256, 256, 256), layers=2, groups=32, attends=(1,)),
    "dit-tiny": _dit(128, layers=4, heads=4, patch=4),
    "dit-s": _dit(384, layers=12, heads=6, patch=2),
    "dcgan": Shape(
        kind=DCGAN,
        settings={"noise": 64, "generator_channels": [96, 96, 48, 24], "discriminator_channels": [24, 48, 96, 96]},
        halvings=4,
        learning_rate=5e-4,
    ),
}


def shape_named(name: str) -> Shape:
    """Return the shape of a name.

    Raises:
        SettingError: if there is none.
    """
    if name not in SHAPES:
        raise SettingError(
            f"shape is {name!r}, which is none of {', '.join(SHAPES)}; unet-tiny learns 32 × 32 pictures in minutes on a CPU"
        )
    return SHAPES[name]


def write_random(
    name: str,
    folder: Path,
    *,
    kind: str = "denoiser",
    objective: str | None = None,
    size: int,
    labels: Sequence[str],
    seed: int,
) -> None:
    """Write a model of a named shape with random weights; see `write_gan` and `write_denoiser`.

    Args:
        kind: of backbone that the task needs.
        objective: of the task.

    Raises:
        SettingError: if the shape is unknown or does not fit the task, the size or the labels.
    """
    shape = shape_named(name)
    if (shape.kind == DCGAN) != (kind == "gan"):
        raise SettingError(
            f"shape {name} is {'a GAN: set task.objective: adversarial and task.condition: none' if shape.kind == DCGAN else 'no GAN: leave task.objective out, or choose shape dcgan'}"
        )
    if size % 2**shape.halvings:
        raise SettingError(
            f"shape {name} halves pictures {shape.halvings} times, and task.size = {size} does not divide by {2**shape.halvings}"
        )
    if shape.kind == DIT and not labels:
        raise SettingError(f"shape {name} always takes a label; set task.condition: class, or choose unet-tiny")
    if shape.kind == DCGAN:
        write_gan(shape, folder, size=size, seed=seed)
        return
    write_denoiser(shape, folder, size=size, labels=labels, seed=seed, objective=objective or "flow")


def write_gan(shape: Shape, folder: Path, *, size: int, seed: int) -> None:
    """Write a generator and its discriminator with random weights to `folder`; `size` is the side of their pictures."""
    with torch_draws(stream_seed(seed, "backbone")):
        model = Dcgan.of({**shape.settings, "sample_size": size})
    model.save_pretrained(folder)


def write_denoiser(shape: Shape, folder: Path, *, size: int, labels: Sequence[str], seed: int, objective: str = "flow") -> None:
    """Write a denoiser with random weights, its scheduler and its labels to `folder`, as diffusers loads it.

    Args:
        size: side of its pictures.
        labels: names of what it can be asked for; none: it takes no label. A row more stands for no label.
        objective: flow, epsilon or v: what it is to answer.
    """
    settings: dict[str, Any] = {**shape.settings, "sample_size": size}
    if labels:
        settings[EMBEDDED[shape.kind]] = len(labels) + (0 if shape.kind == DIT else 1)  # diffusers adds the row to a DiT itself
    with torch_draws(stream_seed(seed, "backbone")):
        model: Any = build_denoiser(shape.kind, settings)
    model.save_pretrained(folder)
    scheduler: dict[str, Any] = {"_class_name": FLOW, "num_train_timesteps": 1000, "shift": 1.0}
    if objective != "flow":
        said = next(name for name, answers in PREDICTS.items() if answers == objective)
        scheduler = {
            "_class_name": "DDPMScheduler",
            "num_train_timesteps": 1000,
            "beta_schedule": COSINE,
            "prediction_type": said,
        }
    (folder / SCHEDULER).write_text(json.dumps(scheduler, indent=2) + "\n", encoding="utf-8")
    if labels:
        (folder / LABELS).write_text(json.dumps(list(labels), ensure_ascii=False) + "\n", encoding="utf-8")
