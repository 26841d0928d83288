"""Low-rank adaptation: beside each chosen weight W, a trained product (alpha / rank) B A.

Source: Hu et al., 2021, arXiv:2106.09685, section 4.1; the layers, their names and the file format are PEFT's.
Difference: the trained weights stay float32 whatever the backbone's precision, and PEFT's cast of a layer's input to
float32 is off, so a half-precision backbone must run under torch.autocast.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from torch import nn

from ..errors import SettingError
from ..limits import Number, Width
from .adapters.files import read_config
from .adapters.over_peft import ADAPTER, attach_peft, check_bare, factor_scale, restore_tensors, task_settings, trained_by_name
from .adapters.second import save_active
from .adapters.targets import all_linear, check_targets, usual_targets
from .layers.flat import flatten_factors
from .start import start_from

AUTO, USUAL_RANKS = "auto", (2, 4, 8, 16)
if TYPE_CHECKING:
    Rank: TypeAlias = int
else:
    Rank = Width | Literal["auto"]  # once it is read `auto` is the largest of `ranks`


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Train low-rank factors beside the attention weights, and a classifier's head."""

    learning_rates: ClassVar[Mapping[str, float]] = {
        "causal": 0.003,
        "classifier": 0.003,
        "classifier-head": 0.1,
        "denoiser": 0.003,
        "embedder": 0.001,
        "gan": 0.001,
        "reader": 0.001,
    }  # that `auto` stands for
    gives: ClassVar[Mapping[str, bool | str]] = {"factors": True}
    kind: Literal["lora"] = "lora"
    rank: Rank = (
        8  # width of the factors: weights trained and bytes sent grow with it; auto: chosen for each client before each round
    )
    ranks: tuple[Width, ...] = ()  # that auto chooses among, 2, 4, 8 and 16 if left out; the largest is the shared adapter's
    round_seconds: Number | None = (
        None  # with auto, what a client's round may take; null: the median over clients at the largest rank
    )
    alpha: Number = 16  # the factors' product counts alpha / rank
    dropout: float = 0.0  # share of a layer's inputs that the factors do not see in training, in [0, 1)
    targets: tuple[str, ...] | None = (
        None  # last parts of module names, or [all-linear]; None: attention query and value; of models that make pictures convolutions too
    )
    initial: str | None = None  # folder of an existing adapter to start from

    def __post_init__(self) -> None:
        self._choose_among()
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

    def _choose_among(self) -> None:
        """Put the largest rank that may be chosen in the place of `auto`."""
        if isinstance(self.rank, str) and self.rank == AUTO:
            object.__setattr__(self, "ranks", tuple(sorted(self.ranks)) or USUAL_RANKS)
            object.__setattr__(self, "rank", max(self.ranks))
        whole = all(isinstance(rank, int) and not isinstance(rank, bool) and rank > 0 for rank in self.ranks)
        if self.ranks and (not whole or len(self.ranks) < 2 or len(set(self.ranks)) < len(self.ranks)):
            raise SettingError(
                f"ranks are two or more whole numbers from 1, each once, that rank: auto chooses among; got {list(self.ranks)}"
            )
        if self.ranks and self.rank != max(self.ranks):
            raise SettingError(
                f"ranks are what rank: auto chooses among, and rank is {self.rank!r}; set rank: auto, or leave ranks out"
            )
        if self.round_seconds is None:
            return
        if not self.ranks:
            raise SettingError(
                f"round_seconds bounds what rank: auto chooses, and rank is {self.rank!r}; set rank: auto, or leave round_seconds out"
            )
        if self.round_seconds <= 0:
            raise SettingError(
                f"round_seconds is a number of seconds above 0, got {self.round_seconds!r}; null: no bound of its own"
            )

    def attach(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model, in evaluation mode, with A drawn from `seed` and B zero: nothing changes before training.

        Factors beside a convolution are matrices, see `layers.flat`. A classifier's head is trained whole, and so is what the backbone's folder lacked (`model.fresh_modules`, which
        `load_backbone` sets): it is random, so nobody could use the adapter without it.

        Args:
            model: a transformers model; it is changed in place and frozen but for the weights under training.
            seed: of the job; the global random state is left as it was.

        Raises:
            SettingError: if a target is not in the model, or `initial` does not fit rank, alpha or targets.
        """
        check_bare(model)
        tuned = attach_peft(model, self._config(model), seed)
        flatten_factors(tuned, ADAPTER)
        for module in tuned.modules():
            if hasattr(module, "cast_input_dtype_enabled"):
                vars(module)["cast_input_dtype_enabled"] = (
                    False  # autocast chooses the dtype; a cast to float32 would be undone by it
                )
        if self.initial is not None:
            start_from(tuned, self.parameters(tuned), Path(self.initial).expanduser())
        return tuned

    def parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """Return the trained parameters by the names of PEFT's adapter file, sorted."""
        return trained_by_name(model)

    def scale(self, model: nn.Module) -> Mapping[str, float]:
        """Return alpha / rank by name of the adapted module, sorted."""
        return factor_scale(model)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write adapter_config.json and adapter_model.safetensors as PEFT does, and labels.json beside a classifier's.

        `base_model_name_or_path` is the folder that the backbone was loaded from. Further adapters that are active are joined with
        the first; see `save_active`.
        """
        save_active(model, folder)

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy the adapter in `folder` into the model; names and shapes must be those of this tuning.

        Raises:
            SettingError: if the folder is missing, unreadable or holds an adapter of another shape.
        """
        restore_tensors(self.parameters(model), folder)

    def _config(self, model: nn.Module) -> Any:
        from peft import LoraConfig
        from transformers.pytorch_utils import Conv1D

        if self.targets is None:
            targets: list[str] | str = list(usual_targets(model))
        elif self.targets == ("all-linear",):
            targets = all_linear(model)
        else:
            targets = check_targets(model, self.targets)
        return LoraConfig(
            r=self.rank,
            lora_alpha=int(self.alpha) if float(self.alpha).is_integer() else self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets,
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
            **task_settings(model),
        )


def _names(targets: object) -> tuple[str, ...]:
    named = (targets,) if isinstance(targets, str) else targets
    if not isinstance(named, tuple | list) or not named or not all(isinstance(name, str) and name for name in named):
        raise SettingError(f"targets is a list of module names such as [q_proj, v_proj], or null, got {targets!r}")
    return tuple(named)


def as_saved(tuning: Any, folder: Path) -> Any:
    """Return a tuning as it was saved in `folder`: LoRA at the rank and alpha of the adapter there, which may hold joined factors.

    Raises:
        SettingError: if there is no adapter, or it cannot be read.
    """
    if not isinstance(tuning, Lora):
        return tuning
    config = read_config(folder)
    return replace(tuning, rank=config.get("r", tuning.rank), alpha=config.get("lora_alpha", tuning.alpha), initial=None)
