"""What the parts promise each other."""

from .federation import Answer, Answering, Asking, Federation
from .observers import Observer, Seen, Watch
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
    WhoSigns,
)
from .rules import Aggregation, RobustRule, RuleTraits, traits_of
from .tasks import NamedTask
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
    "Lengthening",
    "NamedTask",
    "Observer",
    "OnMessages",
    "OnSum",
    "Plan",
    "Protection",
    "RobustRule",
    "RuleTraits",
    "Seen",
    "Settling",
    "Shaping",
    "Tuning",
    "Watch",
    "WhoSigns",
    "traits_of",
]
