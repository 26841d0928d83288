"""The forms in which a result is written, and which of them goes with which tuning and which head."""

from collections.abc import Mapping
from typing import Any, get_args

from torch import nn

from ..errors import SettingError
from ..interfaces import Tuning
from ..models import reads_mean
from ..tuning import Form, written

WHOLE = ("merged", "pooled")  # forms that are models of their own
POOLED: Mapping[Form, Form] = {"merged": "pooled", "peft": "adapter", "adapter": "adapter"}  # where a head reads the mean
OWN_POOLING = "classifier_pooling"  # where a model's own code can read the mean, its configuration calls it so


def check_form(to: str) -> None:
    """Raise SettingError unless `to` is a form."""
    if to not in get_args(Form):
        raise SettingError(
            "to is merged or peft; adapter for bottleneck adapters, pooled or adapter for heads that read the mean (task.pooling: mean), and prompt "
            f"for a prompt that was searched; got {to!r}"
        )


def check_early(tuning: Tuning, to: Form) -> None:
    """Raise SettingError if a form goes with no head that a tuning can have, before anything is loaded."""
    if to not in possible_forms(tuning, pooled=False) and to not in possible_forms(tuning, pooled=True):
        check_possible(tuning, to, pooled=False)


def possible_forms(tuning: Tuning, *, pooled: bool) -> tuple[Form, ...]:
    """Return the forms in which the result of a tuning can be written, the usual one first."""
    usual = written(tuning).forms
    return tuple(POOLED.get(form, form) for form in usual) if pooled else usual


def other_form(tuning: Tuning, to: Form, *, pooled: bool) -> str:
    """Return a form to try where `to` does not do; empty if there is none."""
    return next((form for form in possible_forms(tuning, pooled=pooled) if form != to), "")


def check_possible(tuning: Tuning, to: Form, *, pooled: bool) -> None:
    """Raise SettingError, with the form that works, if what a tuning makes cannot be written in the form `to`.

    Args:
        pooled: whether its head reads the mean over tokens, where the model's own code does not.
    """
    possible = possible_forms(tuning, pooled=pooled)
    if to in possible:
        return
    if pooled and to in possible_forms(tuning, pooled=False):
        raise SettingError(
            f"to {to}: the head reads the mean over tokens (task.pooling: mean), which {'PEFT' if to == 'peft' else 'transformers'} alone does not "
            f"compute for this model, so it would answer otherwise without a word; {_way(POOLED[to])}"
        )
    reason = "that form is for heads that read the mean (task.pooling: mean)" if to == "pooled" else written(tuning).reason
    raise SettingError(f"to {to} and tuning {tuning.kind} do not go together: {reason}; try --to {possible[0]}")


def _way(form: Form) -> str:
    what = "a whole model" if form == "pooled" else "the adapter"
    return f"try --to {form}, {what} with which fedtailor.models.pool_mean is called, as its README.md shows"


def mean_in_config(model: Any) -> dict[str, str]:
    """Return the fields of a configuration by which a model's own code reads the mean over tokens, such as ModernBERT's; empty if it cannot."""
    return {OWN_POOLING: "mean"} if isinstance(getattr(model.config, OWN_POOLING, None), str) else {}


def needs_pooling(model: nn.Module) -> bool:
    """Return whether the head reads the mean over tokens, and the model's own code cannot."""
    return reads_mean(model) and not mean_in_config(model)
