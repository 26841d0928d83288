"""What both sides of distillation go by, and the estimate of its costs."""

from dataclasses import dataclass

from ...interfaces import traits_of
from ...learning.local import LocalTraining
from ...messages.wires.logits import LogitsWire
from .public_set import PublicSet
from .settings import Distillation


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The settings, the public examples as one worker's tokens, and the form of logits."""

    settings: Distillation
    public: PublicSet
    wire: LogitsWire

    @property
    def local(self) -> LocalTraining:
        return self.settings.local

    @property
    def sends_weights(self) -> bool:
        """Whether weights travel beside logits."""
        return traits_of(self.settings.aggregation).needs_weights
