"""How a tuning's result is written: in a run, and for other tools."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Form: TypeAlias = Literal["merged", "peft", "adapter", "pooled", "prompt"]
"""merged: a whole model; peft: PEFT's adapter folder; adapter: what fedtailor.tuning.load_adapter reads; pooled: merged, and its head reads the mean; prompt: the text of
a prompt, with no weights."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a tuning says of its result, as its attribute `written`; these defaults hold for one that says nothing."""

    folder: Literal["adapter", "model", "prompt", ""] = "adapter"  # its name in a run; empty: there is no result
    files: tuple[str, ...] = ("adapter_config.json", "adapter_model.safetensors")  # without which there is no result
    forms: tuple[Form, ...] = ("merged", "peft")  # in which it can be exported
    usual: Form = "merged"  # the form that is written where none is named
    reason: str = "that form is for bottleneck adapters, and for heads that read the mean"  # why it has no others
    every_weight: bool = False  # all weights of the backbone are trained, in float32
    in_front: bool = False  # what is trained stands before the text, and goes through every block


PLAIN = Written()


def written(tuning: object) -> Written:
    """Return how the result of a tuning is written."""
    found: Written = getattr(tuning, "written", PLAIN)
    return found
