"""Updates in steps of one size."""

from dataclasses import dataclass, replace
from typing import Literal

from ..interfaces import Crossing
from ..limits import Number
from ..records import Message


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """Round each value of an update to a multiple of a step."""

    kind: Literal["rounded"] = "rounded"
    step: Number = 1e-4  # that values are multiples of

    def leave(self, message: Message, crossing: Crossing) -> Message:
        """Return the message with rounded updates."""
        short = {name: (value / self.step).round() * self.step for name, value in crossing.revealing("update", message).items()}
        return replace(message, tensors={**message.tensors, **short})

    def arrive(self, message: Message, crossing: Crossing) -> Message:
        """Return the message as it came."""
        return message
