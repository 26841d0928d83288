"""Pictures that a model makes: which ones hangs on the seed, the number of the picture and its label alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ...errors import SettingError
from ...pictures import Canvas
from ..text.generate import evaluating
from .flow import sample_noise, to_pixels
from .sampling import Sampling
from .ways import way_of


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
