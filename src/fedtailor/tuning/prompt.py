"""Prompt tuning: trained vectors that stand before the embedded tokens of every text.

Source: Lester et al., 2021, arXiv:2104.08691, sections 2 and 3.2; computed and saved by PEFT.
Difference: a classifier's head is trained too. Of a BERT the pooled position is then the first vector, as in PEFT. With drawn tokens there and
behind, the head learns next to nothing in two rounds (docs/results.md), so of such a classifier the vectors start as [CLS] and [SEP].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from ..errors import SettingError
from ..limits import Width
from .adapters.over_peft import (
    ADAPTER,
    attach_in_front,
    is_classifier,
    restore_tensors,
    save_peft,
    task_settings,
    trained_by_name,
)
from .checks import check_choice, check_count
from .written import Written

TRAINED, PUBLISHED = "prompt_encoder.embedding.weight", "prompt_embeddings"


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Train vectors that stand before the embedded tokens of every text, and a classifier's head."""

    learning_rates: ClassVar[Mapping[str, float]] = {
        "causal": 0.03,
        "classifier": 0.0001,
        "classifier-head": 0.1,
    }  # that `auto` stands for
    written: ClassVar[Written] = Written(
        forms=("peft",), reason="a prompt stands before the text, not in the weights", in_front=True
    )
    kind: Literal["prompt"] = "prompt"
    length: Width = 20  # how many vectors: weights trained and bytes sent grow with it, and each takes a position of the context
    start: Literal["auto", "marks", "words", "random"] = (
        "auto"  # [CLS] and [SEP], tokens drawn by the seed, standard normal values; auto: marks for a BERT
    )

    def __post_init__(self) -> None:
        check_count("length", self.length, "5 to 100 are usual")
        check_choice("start", self.start, ("auto", "marks", "words", "random"))

    def attach(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model, in evaluation mode, with the vectors in front, drawn from `seed`: its output changes at once.

        Raises:
            SettingError: if the model is a classifier that reads the last token's position, which it cannot distinguish from padding
                where tokens come as vectors, or one without [CLS] and [SEP] is to start as these.
        """
        from peft import PromptTuningConfig, PromptTuningInit

        if is_classifier(model) and hasattr(model, "score"):
            raise SettingError(
                f"tuning prompt and a {type(model).__name__} do not go together: it reads the position of the last token, which it "
                "cannot find where tokens come as vectors; try tuning: prefix or lora, or a BERT backbone"
            )
        marks = _marks(model)
        if marks is None and self.start == "marks":
            raise SettingError(
                f"tuning.start: marks and a {type(model).__name__} do not go together: only a classifier whose tokenizer puts one token before a text and "
                "one behind it, such as a BERT's [CLS] and [SEP], has them; try start: words"
            )
        start = PromptTuningInit.RANDOM if self.start == "random" else PromptTuningInit.SAMPLE_VOCAB
        config: Any = PromptTuningConfig(num_virtual_tokens=self.length, prompt_tuning_init=start, **task_settings(model))
        tuned: Any = attach_in_front(model, config, seed, kind=self.kind)
        if marks is not None and self.start in ("auto", "marks"):
            before, behind = tuned.get_input_embeddings().weight[list(marks)].detach()
            with torch.no_grad():
                tuned.prompt_encoder[ADAPTER].embedding.weight[:1] = before
                tuned.prompt_encoder[ADAPTER].embedding.weight[1:] = behind
        whole: nn.Module = tuned
        return whole

    def parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """Return the vectors [length, width] and what else is trained, by the names of PEFT's file, sorted."""
        return published_vectors(trained_by_name(model))

    def scale(self, model: nn.Module) -> Mapping[str, float]:
        """Return nothing: there are no factors."""
        return {}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the folder that PEFT loads, and labels.json beside a classifier's."""
        save_peft(model, folder)

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy the vectors in `folder` into the model.

        Raises:
            SettingError: if the folder is missing, unreadable or holds vectors of another shape.
        """
        restore_tensors(self.parameters(model), folder)


def _marks(model: nn.Module) -> tuple[int, int] | None:
    """Return the tokens that stand before and behind every text of a classifier, if there are such."""
    before, behind = getattr(model, "around_a_text", (None, None))
    return None if before is None or behind is None or not is_classifier(model) else (before, behind)


def published_vectors(trained: Mapping[str, nn.Parameter]) -> Mapping[str, nn.Parameter]:
    """Return the parameters with the trained vectors under the name that they have in PEFT's file, sorted."""
    return dict(sorted((PUBLISHED if name == TRAINED else name, p) for name, p in trained.items()))
