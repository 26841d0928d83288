"""How good a model is on a whole set of examples, and on all clients together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..errors import SettingError
from ..tasks.generate import Decoding
from ..tasks.metrics import Bleu


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is measured, how often, and how texts are generated for it."""

    every: int = 1  # rounds from one evaluation to the next; before round 1 and at the end there always is one
    metrics: Sequence[str] | None = None  # None: the task's own choice; the loss is always there
    generate: Decoding = field(default_factory=Decoding)
    generate_at: Literal["ends", "always"] = "ends"  # texts before round 1 and at the end, or at every evaluation
    bleu: Bleu = field(default_factory=Bleu)
    batch_size: int = 16  # examples at a time for the loss

    def __post_init__(self) -> None:
        for name in ("every", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"{name} is a whole number, at least 1; got {value!r}")
        if self.generate_at not in ("ends", "always"):
            raise SettingError(f"generate_at is ends or always; got {self.generate_at!r}")
        if self.metrics is not None:
            if isinstance(self.metrics, str):
                raise SettingError(f"metrics is a list of names, such as [loss, bleu]; got the text {self.metrics!r}")
            object.__setattr__(self, "metrics", tuple(self.metrics))
