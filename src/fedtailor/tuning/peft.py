"""Any method of the library PEFT that puts trained weights beside those of the backbone: IA3, VeRA, LoHa, LoKr, ...

The methods, their defaults and their files are PEFT's; see the paper that PEFT's documentation names for each.
"""

import difflib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..causes import detail_of
from ..errors import FedtailorError, SettingError
from .adapters.over_peft import (
    ADAPTER,
    add_note,
    attach_peft,
    check_bare,
    factor_scale,
    restore_tensors,
    save_peft,
    task_settings,
    trained_by_name,
)
from .adapters.targets import attention_targets
from .begin import begin_elsewhere, first_answer, weight_sums
from .start import STARTS, check_same_method

SAME = 0.02  # of the largest logit, below which two answers differ by rounding alone: bfloat16 has 8 bits
MOST_SIZE = 16_384  # of a rank, a block, a number of layers: weights are made by it
OURS = ("task_type", "modules_to_save", "peft_type", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping")
FROM_THE_BACKBONE = {  # arguments with which a method begins as the backbone, where PEFT's own default begins elsewhere
    "FOURIERFT": {"init_weights": True},
    "C3A": {"init_weights": True},
}
FROM_DATA = (
    "eva",
    "corda",
    "lora_ga",
)  # starts that PEFT makes of a pass over the data before training, and leaves out without one
INSTEAD = {  # methods that are refused, and what to use
    "PREFIX_TUNING": "tuning: prefix",
    "PROMPT_TUNING": "tuning: prompt",
    "MULTITASK_PROMPT_TUNING": "tuning: prompt",
    "P_TUNING": "tuning: prompt, or prefix with its network",
    "CPT": "tuning: prompt",
    "CARTRIDGE": "tuning: prefix",
    "ADALORA": "tuning: lora (its ranks would differ from client to client, on a plan over all steps)",
    "XLORA": "tuning: lora (it joins finished adapters)",
    "POLY": "tuning: lora (it needs the number of a task with each example)",
}


@dataclass(frozen=True, kw_only=True)
class PeftMethod:
    """Train what a method of the library PEFT puts beside the backbone's weights, and a classifier's head."""

    kind: Literal["peft"] = "peft"
    type: str  # PEFT's name of the method: IA3, VERA, LOHA, LOKR, OFT, ...; upper or lower case
    arguments: Mapping[str, object] = field(default_factory=dict)  # of PEFT's config, such as {r: 8}; what is left out is PEFT's

    def __post_init__(self) -> None:
        if not isinstance(self.type, str) or not self.type:
            raise SettingError(f"type is the name of a PEFT method such as IA3, got {self.type!r}")
        object.__setattr__(self, "type", self.type.upper())
        if not isinstance(self.arguments, Mapping) or not all(isinstance(name, str) for name in self.arguments):
            raise SettingError(f"arguments is a mapping of settings of PEFT's {self.type}, got {self.arguments!r}")
        object.__setattr__(self, "arguments", dict(self.arguments))
        for name, value in self.arguments.items():
            if isinstance(value, int) and abs(value) > MOST_SIZE and not any(word in name for word in ("seed", "key")):
                raise SettingError(f"arguments.{name} must be at most {MOST_SIZE:,}; got {value}")
        self._check_names()
        start = self.arguments.get("init_lora_weights")
        if str(start).lower() in FROM_DATA:
            raise SettingError(
                f"arguments.init_lora_weights: {start} begins with what a pass over the data finds, and no client makes one before training, so that "
                "it would be a plain LoRA; leave it out, or choose pissa, olora or orthogonal"
            )
        try:
            self._config(task_type="CAUSAL_LM")
        except Exception as fault:  # whatever PEFT makes of them
            raise SettingError(f"arguments do not make a PEFT {self.type}: {detail_of(fault)}") from fault

    @property
    def learning_rates(self) -> Mapping[str, float]:
        """What `auto` stands for; tried with IA3, LoHa and VeRA."""
        rate = 3e-2 if self.type == "IA3" else 1e-2
        return {"causal": rate, "classifier": rate, "classifier-head": 0.1}

    def attach(self, model: nn.Module, seed: int) -> nn.Module:
        """Return PEFT's wrapper around the model, in evaluation mode, with the method's weights drawn from `seed`.

        Where PEFT knows no targets for the model and none are named, they are attention's query and value.

        Raises:
            SettingError: if the method does not fit the model, or its file would not hold what is trained.
        """
        check_bare(model)
        sums = weight_sums(model)
        try:
            before = first_answer(model)
            tuned = self._attach(model, seed)
            after = first_answer(tuned)
        except FedtailorError:
            raise
        except Exception as fault:  # whatever PEFT and torch make of them
            raise SettingError(
                f"tuning peft with type {self.type} and a {type(model).__name__} do not go together: {detail_of(fault)}. "
                "Name other arguments, such as target_modules, or try tuning: lora"
            ) from fault
        self._check_saved(tuned)
        self._mark(tuned, before, after, changed=weight_sums(model, only=sums) != sums)
        return tuned

    def parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """Return the trained parameters by the names of PEFT's adapter file, sorted."""
        return trained_by_name(model)

    def scale(self, model: nn.Module) -> Mapping[str, float]:
        """Return the scale of the factors by module for type LORA, and nothing for the others."""
        return factor_scale(model)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the folder that PEFT loads, and labels.json beside a classifier's."""
        save_peft(model, folder)

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy what is trained from the folder into the model; what PEFT draws from its own key is as it was attached.

        Raises:
            SettingError: if the folder is missing, unreadable or holds an adapter of another shape.
        """
        tuned: Any = model
        check_same_method(folder, tuned.peft_config[ADAPTER])
        restore_tensors(self.parameters(model), folder, more_in_file=True)

    def _mark(self, tuned: nn.Module, before: Tensor, after: Tensor, *, changed: bool) -> None:
        """Leave on the model what has to be known of its start: whether it is that of the backbone, and whether this has other weights now."""
        if changed:
            rounded = next((str(p.dtype) for p in tuned.parameters() if not p.requires_grad and p.dtype != torch.float32), None)
            if rounded:
                raise SettingError(
                    f"type {self.type} with {_start_of(self.arguments)} changes the backbone's weights, which are {rounded.removeprefix('torch.')} "
                    "here, so that what is rounded away would be missing from the adapter; set precision: float32"
                )
            vars(tuned)["weights_changed"] = True
        if not torch.allclose(after, before, rtol=0, atol=SAME * float(before.abs().max())):
            begin_elsewhere(tuned)
            add_note(
                tuned,
                f"type {self.type} changes what the model answers before any training; the figures before are those of the backbone alone",
            )
        elif self.type in FROM_THE_BACKBONE and not set(FROM_THE_BACKBONE[self.type]) & set(self.arguments):
            chosen = ", ".join(f"{name}: {str(value).lower()}" for name, value in FROM_THE_BACKBONE[self.type].items())
            add_note(tuned, f"type {self.type} begins as the backbone ({chosen}); PEFT's own default begins with random weights")

    def _attach(self, model: nn.Module, seed: int) -> nn.Module:
        try:
            return attach_peft(model, self._config(**task_settings(model)), seed)
        except ValueError as fault:  # raised before the model is touched
            if "target_modules" not in str(fault) or self.arguments.get("target_modules"):
                raise
        return attach_peft(model, self._config(target_modules=list(attention_targets(model)), **task_settings(model)), seed)

    def _config(self, **more: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT warns of choices that a job cannot make
            return _config_class(self.type)(**{**FROM_THE_BACKBONE.get(self.type, {}), **self.arguments, **more})

    def _check_names(self) -> None:
        if self.type in INSTEAD:
            raise SettingError(f"type {self.type} cannot be used here; use {INSTEAD[self.type]}")
        known = [item.name for item in fields(_config_class(self.type)) if item.name not in OURS]
        for name in self.arguments:
            if name in OURS:
                raise SettingError(f"arguments names {name!r}, which fedtailor sets itself; leave it out")
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
                raise SettingError(f"arguments names {name!r}, which PEFT's {self.type} does not have; {hint}")

    def _check_saved(self, model: nn.Module) -> None:
        from peft import get_peft_model_state_dict

        trained = self.parameters(model)
        lost = sorted(trained.keys() - get_peft_model_state_dict(model, save_embedding_layers=False).keys())
        if lost or not trained:
            raise SettingError(
                f"type {self.type} cannot be used: PEFT's file would not hold {lost[:1] or 'anything'} that is trained; "
                "try IA3, VERA, LOHA or LOKR"
            )


def _start_of(arguments: Mapping[str, object]) -> str:
    found = next((f"{name}: {arguments[name]}" for name in STARTS if name in arguments), None)
    return found or "these arguments"


def _config_class(name: str) -> type[Any]:
    """Return PEFT's config class of a method.

    Raises:
        SettingError: naming the nearest method.
    """
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    known: dict[str, type[Any]] = {str(getattr(kind, "value", kind)): cls for kind, cls in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(known.keys() - INSTEAD.keys()))}"
        raise SettingError(f"type {name!r} is no method of PEFT's; {hint}")
    return known[name]
