"""What the parts promise each other."""

from .federation import Answering, Asking, Federation
from .protections import (
    AroundFederation,
    AtClient,
    Checking,
    Crossing,
    Kept,
    Lengthening,
    OnMessages,
    OnSum,
    Plan,
    Protection,
    Settling,
    Shaping,
)
from .rules import Aggregation, RobustRule, RuleTraits, traits_of
from .tunings import CARRIED, POOLING, Compared, Exchanging, Tuning

__all__ = [
    "CARRIED",
    "POOLING",
    "Aggregation",
    "Answering",
    "AroundFederation",
    "Asking",
    "AtClient",
    "Checking",
    "Compared",
    "Crossing",
    "Exchanging",
    "Federation",
    "Kept",
    "Lengthening",
    "OnMessages",
    "OnSum",
    "Plan",
    "Protection",
    "RobustRule",
    "RuleTraits",
    "Settling",
    "Shaping",
    "Tuning",
    "traits_of",
]
