"""What an attack has found, as one row of a table."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One figure of one attack. It says what this attack found, and never that nothing can be found."""

    attack: str  # its name, such as membership
    target: str  # what was attacked: "the model, all clients", "what client north sends in round 1"
    figure: str  # what is measured, such as "AUC of the loss against the backbone's"
    value: float
    floor: float  # what the same attack gets where there is nothing to find
    low: float | None = None  # ends of the 95 % interval
    high: float | None = None
    note: str = ""
    kind: Literal["attack", "check"] = "attack"  # check: of our own noise, where the floor is what was promised
