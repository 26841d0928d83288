"""What a client keeps for itself."""

from collections.abc import Mapping

from .ditto import Ditto
from .fedalt import FedAlt
from .feddpa import FedDpa
from .fedper import FedPer
from .fedrep import FedRep
from .fedsa_lora import FedSaLora
from .finetune import FineTune
from .none import Shared
from .pairs.pair import load_personal
from .technique import Dual, Personal, Personalization, Turn, dual_of, goes_with_last_round

PERSONALIZATIONS: Mapping[str, type] = {
    "none": Shared,
    "finetune": FineTune,
    "fedper": FedPer,
    "fedsa-lora": FedSaLora,
    "fedrep": FedRep,
    "ditto": Ditto,
    "feddpa": FedDpa,
    "fedalt": FedAlt,
}

__all__ = [
    "PERSONALIZATIONS",
    "Ditto",
    "Dual",
    "FedAlt",
    "FedDpa",
    "FedPer",
    "FedRep",
    "FedSaLora",
    "FineTune",
    "Personal",
    "Personalization",
    "Shared",
    "Turn",
    "dual_of",
    "goes_with_last_round",
    "load_personal",
]
