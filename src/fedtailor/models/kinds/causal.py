"""Language models: each token sees those before it alone, and the head gives logits of the next one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from ...errors import BackboneError
from ..ends import check_ends, generation_settings
from ..labels import HeadPlan
from ..pooling import Pooling
from .text import TextKind

OTHER_HEADS = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")  # of no next token


class Causal(TextKind):
    """Models that write texts."""

    name: ClassVar[str] = "causal"
    title: ClassVar[str] = "language models"
    causal: ClassVar[bool] = True
    auto: ClassVar[str] = "AutoModelForCausalLM"
    mapping: ClassVar[str] = "MODEL_FOR_CAUSAL_LM_MAPPING"
    wanted: ClassVar[str] = "causal language models, such as llama"
    pipeline: ClassVar[str] = "text-generation"

    def check_labels(self, labels: Sequence[str]) -> None:
        """Accept any: there are no classes."""

    def check_head(self, config: Any, folder: Path) -> None:
        """Raise BackboneError if the folder is of a model with another head."""
        names = config.architectures if isinstance(config.architectures, list) else []
        if any(str(name).endswith(OTHER_HEADS) for name in names):
            raise BackboneError(
                f"backbone folder {folder} is a {names[0]}, the task needs a causal language model; "
                "try smollm2-135m, or task.kind: classification"
            )

    def plan(self, config: Any, labels: Sequence[str], folder: Path) -> HeadPlan | None:
        """Return None: the head's rows are tokens, and stay as they are."""
        return None

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return what else the model is loaded with: the settings by which it writes."""
        return {"generation_config": generation_settings(folder)}

    def finish(self, model: nn.Module, folder: Path, fresh: tuple[str, ...], pooling: Pooling) -> tuple[str, ...]:
        """Check the tokens that end a text."""
        check_ends(model, folder)
        return fresh
