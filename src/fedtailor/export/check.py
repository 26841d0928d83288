"""An exported folder is loaded back as somebody else would, and must answer as the run's model does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..chance import stream
from ..errors import SettingError
from ..models import Backbone, load_plain, pool_mean
from ..tuning import Form, attach_saved, load_adapter
from .forms import WHOLE

LENGTHS = (24, 7, 2)  # tokens of the texts that are tried, one at a time: padding is each reader's own matter
TOLERANCE = 2e-5  # of the largest logit: what joining weights and adding in another order may cost in float32


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Texts of random tokens, and the logits that the run's model gives for them."""

    texts: Sequence[Tensor]  # int64 [1, L] each
    logits: Sequence[Tensor]  # float32 [1, L, V] or [1, C]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What is needed beside an exported folder to load it."""

    backbone: Path
    kind: Any  # causal or classifier
    labels: Sequence[str]
    bottleneck: bool  # whether the adapter is of our own layers, which PEFT does not know
    pooled: bool  # whether pool_mean belongs to it
    config: dict[str, str]  # fields of the backbone's configuration that are read otherwise


def take_sample(model: nn.Module, backbone: Backbone) -> Sample:
    """Return the model's answers to texts of tokens that mean nothing special, drawn alike each time."""
    tokenizer = backbone.processor
    usual = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
    draw = stream(0, "export")
    texts = [torch.tensor([[usual[place] for place in draw.integers(len(usual), size=length)]]) for length in LENGTHS]
    return Sample(texts=texts, logits=_answers(model, texts))


def check_loads(folder: Path, to: Form, reader: Reader, sample: Sample, *, instead: str) -> None:
    """Load an exported folder without what fedtailor knows of the run, and compare.

    Args:
        instead: another form, to be named if this one does not do.

    Raises:
        SettingError: if it cannot be loaded, or answers otherwise than the run's model.
    """
    with_whom = "transformers" if to in WHOLE else "PEFT" if to == "peft" else "fedtailor.tuning"
    hint = f"try --to {instead}" if instead else "please report it with the run's job.yaml"
    try:
        answers = _answers(load_back(folder, to, reader), sample.texts)
        apart = max(_apart(left, right) for left, right in zip(answers, sample.logits, strict=True))
    except Exception as fault:  # whatever it is, it would meet whoever loads the folder
        raise SettingError(
            f"to {to}: what was written cannot be loaded by {with_whom} ({type(fault).__name__}: {fault}), so nothing is kept; {hint}"
        ) from fault
    if not apart <= TOLERANCE:  # nor if it is not a number
        raise SettingError(
            f"to {to}: loaded by {with_whom}, it answers otherwise than the run's model: logits are off by {apart:.1e} of the largest, at most "
            f"{TOLERANCE:.0e} is rounding, so nothing is kept; {hint}"
        )


def load_back(folder: Path, to: Form, reader: Reader) -> nn.Module:
    """Return the model of an exported folder as its README.md loads it."""
    if to in WHOLE:
        model = load_plain(folder, kind=reader.kind)
        return pool_mean(model) if reader.pooled else model
    backbone = load_plain(reader.backbone, kind=reader.kind, labels=reader.labels, **reader.config)
    if reader.pooled:
        backbone = pool_mean(backbone)
    return (load_adapter if reader.bottleneck else attach_saved)(backbone, folder).eval()


def _answers(model: nn.Module, texts: Sequence[Tensor]) -> list[Tensor]:
    with torch.inference_mode():
        return [model(input_ids=text).logits.float() for text in texts]


def _apart(left: Tensor, right: Tensor) -> float:
    return float((left - right).abs().max() / right.abs().max().clamp(min=1e-30))
