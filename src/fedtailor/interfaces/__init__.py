"""What the parts promise each other."""

from .federation import Answer, Answering, Asking, Federation
from .protections import (
    AroundFederation,
    AtClient,
    Checking,
    Crossing,
    Kept,
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
    "Answer",
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
