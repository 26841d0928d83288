"""Only the weights of the normalization layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor, nn

from ..errors import SettingError
from .adapters.files import read_tensors
from .adapters.over_peft import check_bare, copy_into, head_names, write_labels
from .whole import save_whole
from .written import Written


@dataclass(frozen=True, kw_only=True)
class Norms:
    """Train what normalization layers scale and shift by, and the head of a classifier."""

    learning_rates: ClassVar[Mapping[str, float]] = {"causal": 0.01, "classifier": 0.01}
    written: ClassVar[Written] = Written(folder="model", files=("config.json",), forms=("merged",), reason="no adapter")
    kind: Literal["norms"] = "norms"

    def attach(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model itself; `seed` is not used."""
        check_bare(model)
        model.requires_grad_(False)
        for parameter in self.parameters(model).values():
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
        return model.eval()

    def parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """Return the weights by the model's own names, sorted."""
        named = dict(model.named_parameters())
        own = {name for name in named if "norm" in name.lower() or "ln_" in name} | set(head_names(model, named))
        return {name: named[name] for name in sorted(own)}

    def scale(self, model: nn.Module) -> Mapping[str, float]:
        """Return nothing."""
        return {}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write a model folder."""
        save_whole(model, folder)
        write_labels(model, folder)

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy the weights in the folder into the model.

        Raises:
            SettingError: if it holds none.
        """
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise SettingError(
                f"{folder} holds no model: it has no .safetensors file; name the folder that a run wrote as model/"
            )
        found: dict[str, Tensor] = {}
        for path in files:
            found |= read_tensors(path)
        copy_into(self.parameters(model), found)
