"""What the parts promise each other."""

from .federation import Answer, Answering, Asking, Federation
from .observers import Observer, Seen, Watch
from .phases import ByClient, Ending, Phase
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
from .rules import ONE_RANK, Aggregation, RobustRule, RuleTraits, traits_of
from .tasks import NamedTask
from .tunings import CARRIED, POOLING, Compared, Exchanging, Tuning

__all__ = [
    "CARRIED",
    "ONE_RANK",
    "POOLING",
    "Aggregation",
    "Answer",
    "Answering",
    "AroundFederation",
    "Asking",
    "AtClient",
    "ByClient",
    "Checking",
    "Compared",
    "Crossing",
    "Ending",
    "Exchanging",
    "Federation",
    "Kept",
    "Lengthening",
    "NamedTask",
    "Observer",
    "OnMessages",
    "OnSum",
    "Phase",
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
