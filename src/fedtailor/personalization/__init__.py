"""What a client keeps for itself."""

from collections.abc import Mapping

from .ditto import Ditto
from .fedper import FedPer
from .fedrep import FedRep
from .fedsa_lora import FedSaLora
from .finetune import FineTune
from .none import Shared
from .technique import OWN, Personal, Personalization, Turn

PERSONALIZATIONS: Mapping[str, type] = {
    "none": Shared,
    "finetune": FineTune,
    "fedper": FedPer,
    "fedsa-lora": FedSaLora,
    "fedrep": FedRep,
    "ditto": Ditto,
}

__all__ = [
    "OWN",
    "PERSONALIZATIONS",
    "Ditto",
    "FedPer",
    "FedRep",
    "FedSaLora",
    "FineTune",
    "Personal",
    "Personalization",
    "Shared",
    "Turn",
]
