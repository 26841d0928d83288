"""Every weight of the backbone under training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..errors import SettingError
from .adapters.files import check_fit, read_tensors
from .adapters.over_peft import check_bare, copy_into, write_labels
from .whole import save_whole
from .written import Written


@dataclass(frozen=True, kw_only=True)
class Full:
    """Train every weight, in float32 whatever the backbone's precision; forward passes then run under torch.autocast."""

    learning_rates: ClassVar[Mapping[str, float]] = {
        "causal": 0.0001,
        "classifier": 0.0001,
        "classifier-head": 0.1,
        "denoiser": 0.001,
        "gan": 0.0005,
    }  # that `auto` stands for
    written: ClassVar[Written] = Written(
        folder="model",
        files=("config.json",),
        forms=("merged",),
        reason="every weight was trained, so there is no adapter",
        every_weight=True,
    )
    kind: Literal["full"] = "full"

    def attach(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model itself, in evaluation mode, with all weights float32 and under training; `seed` is not used.

        Raises:
            BackboneError: if the model has an adapter.
            SettingError: if its weights are packed, as in 4 bits.
        """
        check_bare(model)
        packed = next((name for name, p in model.named_parameters() if not p.is_floating_point()), None)
        if packed is not None:
            raise SettingError(
                f"tuning full cannot train a backbone whose weights are packed (such as {packed}); "
                "try precision: bfloat16, or tuning: lora, which leaves them as they are"
            )
        return model.float().requires_grad_(True).eval()

    def parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """Return all weights by the model's own names, sorted; tied ones are there once, by their first name."""
        return dict(sorted(model.named_parameters()))

    def scale(self, model: nn.Module) -> Mapping[str, float]:
        """Return nothing: there are no factors."""
        return {}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write a model folder in float32 that transformers loads, and labels.json beside a classifier's."""
        save_whole(model, folder)
        write_labels(model, folder)

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy the weights of the model folder into the model.

        Raises:
            SettingError: if the folder is missing, unreadable or holds a model of another shape.
        """
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise SettingError(
                f"{folder} holds no model: it has no .safetensors file; name the folder that a run wrote as model/"
            )
        found: dict[str, Tensor] = {}
        for path in files:  # large models come in several
            found |= read_tensors(path)
        wanted = self.parameters(model)
        if found.keys() != wanted.keys():  # transformers writes some families under other names than those of the model in memory
            found = _as_loaded(type(model), folder) or found
        check_fit(folder, found, wanted)
        copy_into(wanted, found)


def _as_loaded(kind: Any, folder: Path) -> dict[str, Tensor]:
    """Return the weights of a model folder by the names of the loaded model; empty if it is of another kind."""
    try:
        model = kind.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError, RuntimeError):
        return {}
    return dict(model.named_parameters())
