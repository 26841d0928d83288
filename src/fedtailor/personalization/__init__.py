"""What a client keeps for itself."""

from collections.abc import Mapping

from .finetune import FineTune
from .none import Shared
from .technique import OWN, Personal, Personalization, Turn

PERSONALIZATIONS: Mapping[str, type] = {"none": Shared, "finetune": FineTune}

__all__ = ["OWN", "PERSONALIZATIONS", "FineTune", "Personal", "Personalization", "Shared", "Turn"]
