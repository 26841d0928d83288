"""Generators: models that make a picture out of noise in one step, with the discriminators that they are trained against."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from ...causes import detail_of
from ...errors import BackboneError, SettingError
from ...pictures import Canvas
from ..build import bounded_build, check_numbers, shown
from ..dcgan import CLASS, Dcgan, check_settings
from ..device import Precision
from ..faults import is_ours
from ..files import AGAIN, read_settings, read_weights
from ..locate import Location
from ..operations import used_weights
from ..pooling import Pooling
from ..whole import check_numbers_of
from .kind import Files, Loaded


class Gan:
    """A generator with its discriminator: a Dcgan, as `fedtailor pretrain` makes it."""

    name: ClassVar[str] = "gan"
    title: ClassVar[str] = "generators of pictures"
    causal: ClassVar[bool] = False
    of_texts: ClassVar[bool] = False
    auto: ClassVar[str] = CLASS
    library: ClassVar[str] = "fedtailor"
    pipeline: ClassVar[str] = "unconditional-image-generation"

    def check_labels(self, labels: Sequence[str]) -> None:
        """Accept none: its pictures are of no label.

        Raises:
            SettingError: if there are any.
        """
        if labels:
            raise SettingError("objective: adversarial makes pictures of no label; set task.condition: none")

    def read(self, folder: Path) -> Files:
        """Return what config.json says, checked.

        Raises:
            BackboneError: if it is no pair of networks that fedtailor pretrained, with the field at fault.
        """
        settings, weights = read_settings(folder), read_weights(folder)
        path, kind = folder / "config.json", settings.get("_class_name", settings.get("model_type"))
        if kind != CLASS:
            raise BackboneError(
                f"backbone folder {folder} is a {shown(kind)}, and task.objective: adversarial needs a {CLASS}, as fedtailor pretrain --shape dcgan makes it; "
                "leave task.objective out for a model of diffusers"
            )
        check_numbers(settings, path, weights)
        try:
            check_settings(settings)
        except ValueError as fault:
            raise BackboneError(f"{path}: {fault}; {AGAIN}") from None
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
        """Return both networks and the canvas that pictures have; see `Kind.load`.

        Raises:
            BackboneError: if it cannot be loaded.
            SettingError: if the precision is one of language models.
        """
        if precision == "4bit":
            raise SettingError("precision: 4bit is for language models; leave precision out: a GAN is computed in float32")
        folder = place.folder
        try:
            with bounded_build(files.settings, folder / "config.json", files.weights):
                model = Dcgan.from_pretrained(folder)
        except Exception as fault:  # whatever torch and safetensors raise
            if is_ours(fault):
                raise
            raise BackboneError(
                f"backbone folder {folder} could not be loaded as a {CLASS} ({detail_of(fault)}); are its config.json and its weights of one model? "
                f"Else {AGAIN}"
            ) from fault
        check_numbers_of(model, folder)
        frozen = model.to(device).requires_grad_(False)
        vars(frozen)["label_names"] = ()
        vars(frozen)["files_beside"] = ()
        canvas = Canvas(size=files.settings["sample_size"], noise=(files.settings["noise"],), answers="adversarial")
        pictures = torch.zeros(1, canvas.channels, canvas.size, canvas.size, device=device)
        used = used_weights(model, torch.zeros(1, *canvas.noise_shape, device=device)) + used_weights(
            model.discriminator, pictures
        )
        return Loaded(model=frozen, processor=canvas, fresh=(), note=None, used=used)

    def plain(self, folder: Path, labels: Sequence[str], changes: Mapping[str, Any]) -> nn.Module:
        """Return the model as its own class loads it; see `load_plain`."""
        return Dcgan.from_pretrained(folder)
