"""Low-rank adaptation: beside each chosen weight W, a trained product (alpha / rank) B A.

Source: Hu et al., 2021, arXiv:2106.09685, section 4.1; the layers, their names and the file format are PEFT's.
Difference: the trained weights stay float32 whatever the backbone's precision, and PEFT's cast of a layer's input to
float32 is off, so a half-precision backbone must run under torch.autocast.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from ..chance import stream_seed, torch_draws
from ..errors import BackboneError, SettingError
from .files import check_same_scale, read_adapter
from .targets import attention_targets, check_targets

ADAPTER = "default"  # PEFT's name of the one adapter that we attach


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Train low-rank factors beside the attention weights, and a classifier's head."""

    kind: Literal["lora"] = "lora"
    rank: int = 8  # width of the factors: weights trained and bytes sent grow with it
    alpha: float = 16  # the factors' product counts alpha / rank
    dropout: float = 0.0  # share of a layer's inputs that the factors do not see in training, in [0, 1)
    targets: tuple[str, ...] | None = None  # last parts of module names, or [all-linear]; None: attention query and value
    initial: str | None = None  # folder of an existing adapter to start from

    def __post_init__(self) -> None:
        if not isinstance(self.rank, int) or isinstance(self.rank, bool) or self.rank < 1:
            raise SettingError(f"rank is a whole number from 1, got {self.rank!r}; 4 to 64 are usual")
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, int | float) or not 0 < self.alpha < float("inf"):
            raise SettingError(f"alpha is a number above 0, got {self.alpha!r}; twice the rank is usual")
        if isinstance(self.dropout, bool) or not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise SettingError(f"dropout is a share from 0 to below 1, got {self.dropout!r}")
        if self.targets is not None:
            object.__setattr__(self, "targets", _names(self.targets))
        if self.initial is not None and (not isinstance(self.initial, str | Path) or not str(self.initial)):
            raise SettingError(f"initial is the path of an adapter folder or null, got {self.initial!r}")

    def attach(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model, in evaluation mode, with A drawn from `seed` and B zero: nothing changes before training.

        A classifier's head is trained whole, and so is what the backbone's folder lacked (`model.fresh_modules`, which
        `load_backbone` sets): it is random, so nobody could use the adapter without it.

        Args:
            model: a transformers model; it is changed in place and frozen but for the weights under training.
            seed: of the job; the global random state is left as it was.

        Raises:
            SettingError: if a target is not in the model, or `initial` does not fit rank, alpha or targets.
        """
        from peft import get_peft_model

        if hasattr(model, "peft_config"):
            raise BackboneError("the model has an adapter already; load the backbone again, or merge the adapter first")
        with torch_draws(stream_seed(seed, "tuning")), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by a name that the next version drops
            tuned: nn.Module = get_peft_model(model, self._config(model))
        for module in tuned.modules():
            if hasattr(module, "cast_input_dtype_enabled"):
                vars(module)["cast_input_dtype_enabled"] = (
                    False  # autocast chooses the dtype; a cast to float32 would be undone by it
                )
        for parameter in self.parameters(tuned).values():
            parameter.data = parameter.data.float()
        if self.initial is not None:
            self._start_from(tuned, Path(self.initial).expanduser())
        return tuned.eval()

    def parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """Return the trained parameters by the names of PEFT's adapter file, sorted."""
        trained = {published_name(name): p for name, p in model.named_parameters() if p.requires_grad}
        return dict(sorted(trained.items()))

    def scale(self, model: nn.Module) -> Mapping[str, float]:
        """Return alpha / rank by name of the adapted module, sorted."""
        from peft.tuners.lora import LoraLayer

        layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
        return {name: float(layers[name].scaling[ADAPTER]) for name in sorted(layers)}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write adapter_config.json and adapter_model.safetensors as PEFT does, and labels.json beside a classifier's.

        `base_model_name_or_path` is the folder that the backbone was loaded from.
        """
        tuned: Any = model
        tuned.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)  # "auto" would ask the hub
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's form of empty headings; export writes a card with content
        if _is_classifier(tuned.get_base_model()):
            labels = tuned.get_base_model().config.id2label
            names = json.dumps([labels[i] for i in sorted(labels)], ensure_ascii=False)
            (folder / "labels.json").write_text(names + "\n", encoding="utf-8")

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy the adapter in `folder` into the model; names and shapes must be those of this tuning.

        Raises:
            SettingError: if the folder is missing, unreadable or holds an adapter of another shape.
        """
        parameters = self.parameters(model)
        for name, value in read_adapter(folder, parameters).items():
            parameters[name].data.copy_(value)

    def _config(self, model: nn.Module) -> Any:
        from peft import LoraConfig
        from transformers.pytorch_utils import Conv1D

        if self.targets is None:
            targets: list[str] | str = list(attention_targets(model))
        elif self.targets == ("all-linear",):
            targets = "all-linear"
        else:
            targets = check_targets(model, self.targets)
        fresh = list(getattr(model, "fresh_modules", ()))
        return LoraConfig(
            r=self.rank,
            lora_alpha=int(self.alpha) if float(self.alpha).is_integer() else self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets,
            modules_to_save=fresh or None,
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
            task_type="SEQ_CLS" if _is_classifier(model) else "CAUSAL_LM",
        )

    def _start_from(self, model: nn.Module, folder: Path) -> None:
        check_same_scale(folder, self.scale(model), rank=self.rank, alpha=self.alpha)
        self.restore(model, folder)


def published_name(name: str) -> str:
    """Return a parameter's name as PEFT's adapter file has it, without PEFT's wrappers and its name of the adapter."""
    return name.replace(f".modules_to_save.{ADAPTER}.", ".").replace(f".{ADAPTER}.", ".")


def _is_classifier(model: nn.Module) -> bool:
    return type(model).__name__.endswith("ForSequenceClassification")


def _names(targets: object) -> tuple[str, ...]:
    named = (targets,) if isinstance(targets, str) else targets
    if not isinstance(named, tuple | list) or not named or not all(isinstance(name, str) and name for name in named):
        raise SettingError(f"targets is a list of module names such as [q_proj, v_proj], or null, got {targets!r}")
    return tuple(named)
