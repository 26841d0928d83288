"""Whether a robust rule has the clients that it takes."""

import math
from typing import Any

from ..errors import SettingError
from ..interfaces import Plan, traits_of
from ..pairs import technique
from .fits import Warn


def check_robust(protocol: Any, plan: Plan, warn: Warn) -> None:
    """Report that a rule counts all clients alike where the job weights them.

    Raises:
        SettingError: if a round asks fewer clients than the rule can work on.
    """
    if technique("protocol", protocol).lack("updates") is not None:
        return
    traits, asked = traits_of(protocol.aggregation), round(plan.expected)
    name = technique("aggregation", protocol.aggregation, path="protocol.aggregation").name
    if asked < traits.least:
        hostile = getattr(protocol.aggregation, "hostile", None)
        why = f" with hostile: {hostile} (2 f + 3)" if hostile else ""
        raise SettingError(
            f"{name} takes {traits.least} updates at least{why}, and a round asks {asked} clients; ask more (clients.count, fraction, per_round)"
            + (
                f", or set hostile to {max(0, math.floor((asked - 3) / 2))} at most"
                if hostile and asked >= 3
                else ", or choose norm-clip or geometric-median"
            )
        )
    if traits.alike and protocol.weights != "uniform":
        warn(f"{name}: all clients count alike: protocol.weights: {protocol.weights} has no effect")
