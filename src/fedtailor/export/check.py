"""An exported folder is loaded back as somebody else would, and must answer as the run's model does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ..chance import stream, stream_seed
from ..errors import SettingError
from ..models import Backbone, load_plain, pool_mean
from ..models.kinds import kind_of
from ..pictures import Canvas
from ..tuning import Form, attach_saved, load_adapter
from .forms import WHOLE

Inputs: TypeAlias = tuple[Sequence[Tensor], Mapping[str, Tensor]]  # by place and by name
LENGTHS = (24, 7, 2)  # tokens of the texts that are tried, one at a time: padding is each reader's own matter
TIMES = (20.0, 480.0, 970.0)  # of noise that is tried
TOLERANCE = 2e-5  # of the largest logit: what joining weights and adding in another order may cost in float32


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the run's model is given, and what it answers."""

    inputs: Sequence["Inputs"]
    answers: Sequence[Tensor]  # float32: logits [1, L, V] or [1, C], velocities or pictures [1, C, H, W]


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
    """Return the model's answers to texts of tokens that mean nothing special, or to noise, drawn alike each time."""
    if isinstance(backbone.processor, Canvas):
        inputs = _noise(backbone.processor)
        return Sample(inputs=inputs, answers=_answers(model, inputs))
    tokenizer = backbone.processor
    usual = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
    draw = stream(0, "export")
    texts = [torch.tensor([[usual[place] for place in draw.integers(len(usual), size=length)]]) for length in LENGTHS]
    inputs = [((), {"input_ids": text}) for text in texts]
    return Sample(inputs=inputs, answers=_answers(model, inputs))


def _noise(canvas: Canvas) -> list[Inputs]:
    """Return noise; for a denoiser at three times, of three labels or none."""
    draw = torch.Generator().manual_seed(stream_seed(0, "export"))
    shape = (1, *canvas.noise_shape)
    if canvas.answers == "adversarial":
        return [((torch.randn(shape, generator=draw),), {})]
    labels = [[torch.tensor([place % (canvas.classes + 1)])] if canvas.classes else [] for place in range(len(TIMES))]
    return [
        ((torch.randn(shape, generator=draw), torch.tensor([time]), *label), {})
        for time, label in zip(TIMES, labels, strict=True)
    ]


def check_loads(folder: Path, to: Form, reader: Reader, sample: Sample, *, instead: str) -> None:
    """Load an exported folder without what fedtailor knows of the run, and compare.

    Args:
        instead: another form, to be named if this one does not do.

    Raises:
        SettingError: if it cannot be loaded, or answers otherwise than the run's model.
    """
    with_whom = kind_of(reader.kind).library if to in WHOLE else "PEFT" if to == "peft" else "fedtailor.tuning"
    hint = f"try --to {instead}" if instead else "please report it with the run's job.yaml"
    try:
        answers = _answers(load_back(folder, to, reader), sample.inputs)
        apart = max(_apart(left, right) for left, right in zip(answers, sample.answers, strict=True))
    except Exception as fault:  # whatever it is, it would meet whoever loads the folder
        raise SettingError(
            f"to {to}: what was written cannot be loaded by {with_whom} ({type(fault).__name__}: {fault}), so nothing is kept; {hint}"
        ) from fault
    if not apart <= TOLERANCE:  # nor if it is not a number
        raise SettingError(
            f"to {to}: loaded by {with_whom}, it answers otherwise than the run's model: it is off by {apart:.1e} of the largest, at most "
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


def _answers(model: nn.Module, inputs: Sequence[Inputs]) -> list[Tensor]:
    with torch.inference_mode():
        found = [model(*placed, **named) for placed, named in inputs]
    return [_values(answer).float() for answer in found]


def _values(answer: Any) -> Tensor:
    values: Tensor = answer if isinstance(answer, Tensor) else answer.logits if hasattr(answer, "logits") else answer.sample
    return values


def _apart(left: Tensor, right: Tensor) -> float:
    return float((left - right).abs().max() / right.abs().max().clamp(min=1e-30))
