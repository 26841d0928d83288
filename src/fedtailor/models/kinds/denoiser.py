"""Denoisers: models of diffusers that make pictures out of noise, in many small steps."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from ...causes import detail_of
from ...errors import BackboneError, SettingError
from ...pictures import Canvas
from ..build import bounded_build, check_numbers, shown
from ..dcgan import CLASS as GAN
from ..device import Precision
from ..faults import is_ours
from ..files import AGAIN, read_mapping, read_settings, read_weights
from ..labels import some_names
from ..locate import Location
from ..operations import used_weights
from ..pooling import Pooling
from ..scheduler import SCHEDULER, read_scheduler
from ..whole import check_numbers_of
from .kind import Files, Loaded

LABELS, ORIGIN = "labels.json", "pretrain.json"
BESIDE = (SCHEDULER,)  # files of a denoiser's folder that belong to its weights, whatever these become
MOST_SIDE = 2048  # pixels of a picture: one of them is made on loading
EMBEDDED = {
    "UNet2DModel": "num_class_embeds",
    "DiTTransformer2DModel": "num_embeds_ada_norm",
}  # by class: how many labels it embeds


class Denoiser:
    """Models that make pictures: a UNet2DModel or a DiTTransformer2DModel, with the scheduler that says what they answer."""

    name: ClassVar[str] = "denoiser"
    title: ClassVar[str] = "models that make pictures"
    causal: ClassVar[bool] = False
    of_texts: ClassVar[bool] = False
    auto: ClassVar[str] = "AutoModel"
    library: ClassVar[str] = "diffusers"
    pipeline: ClassVar[str] = "unconditional-image-generation"

    def check_labels(self, labels: Sequence[str]) -> None:
        """Accept any: a picture may be asked for by nothing."""

    def read(self, folder: Path) -> Files:
        """Return what config.json says, checked.

        Raises:
            BackboneError: if it is no model of pictures that is taken here, with the field at fault.
        """
        settings, weights = read_settings(folder), read_weights(folder)
        path, kind = folder / "config.json", settings.get("_class_name")
        if kind not in EMBEDDED:
            what = (
                f"a {shown(settings['model_type'])} of transformers"
                if "model_type" in settings
                else f"of the class {shown(kind)}"
            )
            raise BackboneError(
                f"backbone folder {folder} is {what}, and task: image-generation needs a {' or '.join(EMBEDDED)} of diffusers; "
                + ("for a GAN set task.objective: adversarial" if kind == GAN else "fedtailor pretrain makes one")
            )
        check_numbers(settings, path, weights)
        for key in ("in_channels", "sample_size"):
            if not isinstance(settings.get(key), int) or settings[key] < 1:
                raise BackboneError(
                    f"{path}: {key} is {shown(settings.get(key))}; it must be a whole number, so that the size of pictures is known"
                )
        if settings["sample_size"] > MOST_SIDE:
            raise BackboneError(
                f"{path}: sample_size is {shown(settings['sample_size'])}, and pictures here have {MOST_SIDE} pixels a side at most; {AGAIN}"
            )
        if settings["in_channels"] != 3 or settings.get("out_channels") not in (3, None):
            raise BackboneError(
                f"{path}: in_channels is {settings['in_channels']} and out_channels {shown(settings.get('out_channels'))}; pictures here have 3 (red, "
                "green, blue), and so must both"
            )
        read_scheduler(folder)
        return Files(settings=settings, weights=weights)

    def load(
        self,
        place: Location,
        files: Files,
        *,
        labels: Sequence[str],
        pooling: Pooling,
        precision: Precision,
        device: torch.device,
        seed: int,
    ) -> Loaded:
        """Return the model and the canvas that its pictures have; see `Kind.load`.

        Raises:
            BackboneError: if it cannot be loaded, or computes no picture.
            SettingError: if the precision is one of language models.
        """
        if precision == "4bit":
            raise SettingError(
                "precision: 4bit is for language models; set float32 for a model that makes pictures, or bfloat16 on a GPU"
            )
        folder, kind = place.folder, str(files.settings["_class_name"])
        answers, kept = read_scheduler(folder)
        canvas = replace(_canvas(folder, files.settings, labels), answers=answers, kept=kept)
        try:
            with bounded_build(files.settings, folder / "config.json", files.weights):
                model = _build(kind, folder, files.settings)
        except Exception as fault:  # whatever diffusers, torch and safetensors raise
            if is_ours(fault):
                raise
            raise BackboneError(
                f"backbone folder {folder} could not be loaded as a {kind} ({detail_of(fault)}); are its config.json and its weights whole, and of one "
                f"model? Else {AGAIN}"
            ) from fault
        check_numbers_of(model, folder)
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        model = (
            nn.Module.to(model, device, dtype).requires_grad_(False).eval()
        )  # diffusers' own warns of a dtype, whichever it is
        vars(model)["label_names"] = tuple(labels)  # what tunings write beside the weights
        vars(model)["files_beside"] = tuple(str(folder / name) for name in BESIDE if (folder / name).is_file())
        label = (torch.zeros(1, dtype=torch.int64, device=device),) if canvas.classes else ()
        noise = torch.zeros(1, *canvas.noise_shape, dtype=dtype, device=device)
        try:
            used = used_weights(model, noise, torch.zeros(1, device=device), *label)
        except Exception as fault:  # settings that its constructor takes, and the model cannot compute with
            if is_ours(fault):
                raise
            raise BackboneError(
                f"backbone folder {folder}: the {kind} that its config.json describes cannot compute a picture ({detail_of(fault)}); {AGAIN}"
            ) from fault
        return Loaded(model=model, processor=canvas, fresh=(), note=None, used=used)

    def plain(self, folder: Path, labels: Sequence[str], changes: Mapping[str, Any]) -> nn.Module:
        """Return the model as diffusers loads it; see `load_plain`."""
        import diffusers

        model: nn.Module = diffusers.AutoModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, torch_dtype=torch.float32
        )
        return model


def _canvas(folder: Path, settings: Mapping[str, Any], labels: Sequence[str]) -> Canvas:
    """Return what pictures the model makes, after a check that it knows the job's labels and no others."""
    size, key = int(settings["sample_size"]), EMBEDDED[str(settings["_class_name"])]
    embedded = settings.get(key)
    if key == "num_embeds_ada_norm" and isinstance(embedded, int):
        embedded += 1  # diffusers adds the row of no label itself
    if not labels:
        if embedded:
            raise SettingError(
                f"task.condition is none, and the backbone in {folder} makes pictures of a label ({key}: {settings[key]}); set task.condition: class"
            )
        return Canvas(size=size)
    if not embedded:
        raise SettingError(
            f"task.condition is class, and the backbone in {folder} takes no label ({key} is not set); set task.condition: none"
        )
    known = _known_labels(folder)
    if known and tuple(known) != tuple(labels):
        raise SettingError(
            f"task.labels are {some_names(labels)}, and the backbone in {folder} knows {some_names(known)}; set task.labels: {folder / LABELS}, whose "
            "names and order it was trained with"
        )
    if embedded != len(labels) + 1:
        raise SettingError(
            f"the task has {len(labels)} labels, and the backbone in {folder} {embedded} ({key}: {settings[key]}), one of which must stand for no label; "
            "name one that was made for these labels"
        )
    return Canvas(size=size, classes=len(labels))


def made_of(folder: Path) -> frozenset[str]:
    """Return the SHA-256 of the pixels of each picture that a folder's model was made of, as fedtailor pretrain notes them; none if unknown."""
    path = folder / ORIGIN
    if not path.is_file():
        return frozenset()
    found = read_mapping(path).get("sha256")
    return frozenset(one for one in found if isinstance(one, str)) if isinstance(found, list) else frozenset()


def _known_labels(folder: Path) -> list[str]:
    path = folder / LABELS
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    except (OSError, ValueError) as fault:
        raise BackboneError(f"{path} cannot be read as a JSON list of names ({detail_of(fault)}); {AGAIN}") from fault
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise BackboneError(f"{path} holds no list of names; {AGAIN}")
    return found


def _build(kind: str, folder: Path, settings: Mapping[str, Any]) -> nn.Module:
    from safetensors.torch import load_file

    model = build_denoiser(kind, settings)
    weights = {name: value for path in sorted(folder.glob("*.safetensors")) for name, value in load_file(path).items()}
    model.load_state_dict(weights, strict=True)
    return model


def build_denoiser(kind: str, settings: Mapping[str, Any]) -> nn.Module:
    """Return a model of diffusers with weights drawn from torch's global stream; no label is ever dropped by itself.

    Raises:
        BackboneError: if diffusers is not installed.
    """
    try:
        import diffusers
    except ImportError as fault:
        raise BackboneError("task: image-generation needs the package diffusers; run: pip install 'fedtailor[images]'") from fault
    model: nn.Module = getattr(diffusers, kind).from_config(
        {name: value for name, value in settings.items() if not name.startswith("_")}
    )
    for module in model.modules():
        if hasattr(
            module, "dropout_prob"
        ):  # DiT's, in each block by a draw of its own: the task drops labels for the whole model
            vars(module)["dropout_prob"] = 0.0
    return model
