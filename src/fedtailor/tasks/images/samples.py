"""Pictures that a model makes: which ones hangs on the seed, the number of the picture and its label alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ...errors import SettingError
from ...limits import BatchSize, Number, Steps
from ...pictures import Canvas
from ..text.generate import evaluating
from .flow import sample_noise, to_pixels
from .ways import way_of


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How pictures are made."""

    steps: Steps = 20  # from noise to a picture; a generator needs one, whatever stands here
    guidance: Number = 1.0  # how far beyond the answer without a label, 1: not at all; larger: more typical, less varied
    batch: BatchSize = 125  # pictures at a time
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"{name} is a whole number, at least 1; got {value!r}")
        if isinstance(self.guidance, bool) or not 0 <= self.guidance < float("inf"):
            raise SettingError(f"guidance is a number, at least 0; got {self.guidance!r}; 1 to 5 are usual")


def make_pictures(model: nn.Module, canvas: Canvas, labels: Sequence[int], how: Sampling, *, first: int = 0) -> Any:
    """Return pictures, uint8 [N, height, width, 3] in NumPy, numbered from `first`.

    Args:
        labels: the class number of each picture; the number of classes stands for no label, and is all that a model without labels has.

    Raises:
        SettingError: if guidance is asked of a model that takes no label.
    """
    if how.guidance != 1 and not canvas.classes:
        raise SettingError(f"guidance is {how.guidance}, and the model takes no label to be guided by; leave guidance at 1")
    device = next(model.parameters()).device
    way, made = way_of(canvas), []
    with torch.inference_mode(), evaluating(model):
        for begin in range(0, len(labels), how.batch):
            some = labels[begin : begin + how.batch]
            numbers = range(first + begin, first + begin + len(some))
            noise = sample_noise(how.seed, numbers, canvas.noise_shape).to(device)
            label_B = torch.tensor(some, device=device) if canvas.classes else None
            made.append(to_pixels(way.draw(model, canvas, noise, label_B, steps=how.steps, guidance=how.guidance)))
    return np.concatenate(made)
