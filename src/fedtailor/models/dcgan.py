"""A generator and the discriminator that it is trained against, of convolutions.

Source: Radford et al., 2016, arXiv:1511.06434, DCGAN. Differences: nearest neighbours and a convolution in the place of transposed ones, which leave
patterns of squares (Odena et al., 2016, doi:10.23915/distill.00003); GroupNorm in the generator and no norm in the discriminator, so that nothing depends
on the other pictures of a batch and all that training changes are weights.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from ..storage import write_bytes, write_text

CLASS = "Dcgan"  # in config.json
LARGEST_GROUPS = 8  # of GroupNorm
SLOPE = 0.2  # of the discriminator's leaky ReLU

# B pictures, Z values of noise, C channels, H height, W width


class Generator(nn.Module):
    """Noise to pictures: a linear layer to a small square, then each further number of channels at twice the side."""

    def __init__(self, *, size: int, noise: int, channels: Sequence[int]) -> None:
        super().__init__()
        self._first = (channels[0], *(size // 2 ** (len(channels) - 1),) * 2)
        self.linear = nn.Linear(noise, self._first[0] * self._first[1] ** 2)
        self.norm0 = _norm(channels[0])
        self._steps = len(channels) - 1
        for step, (before, after) in enumerate(itertools.pairwise(channels), start=1):
            self.add_module(f"conv{step}", nn.Conv2d(before, after, 3, padding=1))
            self.add_module(f"norm{step}", _norm(after))
        self.conv_out = nn.Conv2d(channels[-1], 3, 3, padding=1)

    def forward(self, noise_BZ: Tensor) -> Tensor:
        """Return pictures [B, 3, H, W] of -1 to 1."""
        found_BCHW = functional.relu(self.norm0(self.linear(noise_BZ).unflatten(1, self._first)))
        for step in range(1, self._steps + 1):
            wider = functional.interpolate(found_BCHW, scale_factor=2.0, mode="nearest")
            found_BCHW = functional.relu(self.get_submodule(f"norm{step}")(self.get_submodule(f"conv{step}")(wider)))
        return torch.tanh(self.conv_out(found_BCHW))


class Discriminator(nn.Module):
    """Pictures to one logit each: large where a picture is taken for a real one."""

    def __init__(self, *, size: int, channels: Sequence[int]) -> None:
        super().__init__()
        self._steps = len(channels)
        for step, (before, after) in enumerate(zip((3, *channels[:-1]), channels, strict=True), start=1):
            self.add_module(f"conv{step}", nn.Conv2d(before, after, 4, stride=2, padding=1))
        self.linear = nn.Linear(channels[-1] * (size // 2 ** len(channels)) ** 2, 1)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Return float logits [B]."""
        found = pixels_BCHW
        for step in range(1, self._steps + 1):
            found = functional.leaky_relu(self.get_submodule(f"conv{step}")(found), SLOPE)
        logits_B: Tensor = self.linear(found.flatten(1))[:, 0]
        return logits_B


class Dcgan(nn.Module):
    """Both networks; called with noise, it answers as the generator."""

    def __init__(
        self, *, sample_size: int, noise: int, generator_channels: Sequence[int], discriminator_channels: Sequence[int]
    ) -> None:
        super().__init__()
        self.settings: Mapping[str, Any] = {
            "_class_name": CLASS,
            "sample_size": sample_size,
            "noise": noise,
            "generator_channels": list(generator_channels),
            "discriminator_channels": list(discriminator_channels),
        }
        self.generator = Generator(size=sample_size, noise=noise, channels=generator_channels)
        self.discriminator = Discriminator(size=sample_size, channels=discriminator_channels)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Return a model of the settings in a config.json, with weights drawn from torch's global stream.

        Raises:
            ValueError: if a setting is missing or of another kind, or the numbers do not fit each other.
        """
        check_settings(settings)
        return cls(**{name: settings[name] for name in KEYS})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Return the model of a folder that `save_pretrained` wrote, in float32 and in evaluation mode.

        Raises:
            ValueError: if its settings or weights are not those of such a model.
        """
        settings = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        model = cls.of(settings)
        found = {name: value for path in sorted(Path(folder).glob("*.safetensors")) for name, value in load_file(path).items()}
        try:
            model.load_state_dict(found, strict=True)
        except RuntimeError as fault:
            raise ValueError(str(fault)) from fault
        return model.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors to `folder`."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        write_text(place / "config.json", json.dumps(dict(self.settings), indent=2) + "\n")
        weights = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        write_bytes(place / "model.safetensors", save(weights, metadata={"format": "pt"}))

    def forward(self, noise_BZ: Tensor) -> Tensor:
        """Return the generator's pictures [B, 3, H, W] of -1 to 1."""
        pictures: Tensor = self.generator(noise_BZ)
        return pictures


KEYS = ("sample_size", "noise", "generator_channels", "discriminator_channels")


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise ValueError, as the end of a sentence about config.json, unless a model can be made of its settings."""
    for name in KEYS:
        value = settings.get(name)
        numbers = value if name.endswith("channels") else [value]
        if not isinstance(numbers, list) or not numbers or not all(type(number) is int and number > 0 for number in numbers):
            raise ValueError(
                f"{name} is {value!r:.60}; it must be {'whole numbers' if numbers is value else 'a whole number'} from 1"
            )
    size, halvings = settings["sample_size"], (len(settings["generator_channels"]) - 1, len(settings["discriminator_channels"]))
    if size % 2 ** max(halvings):
        raise ValueError(
            f"sample_size is {size}, which the lists of channels halve {max(halvings)} times; it must divide by {2 ** max(halvings)}"
        )


def _norm(channels: int) -> nn.GroupNorm:
    groups = next(groups for groups in range(min(LARGEST_GROUPS, channels), 0, -1) if channels % groups == 0)
    return nn.GroupNorm(groups, channels)
