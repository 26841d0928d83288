"""What the protections of a job make of its protocol."""

from dataclasses import replace

from ..errors import SettingError
from ..interfaces import OnSum, Protection, traits_of
from ..job import Job
from ..protocols import Averaging, Distillation, Prompting, Split


def summed_protocol(
    job: Job, protocol: Averaging | Distillation | Split | Prompting, *, clients: int, rate: float
) -> Averaging | Distillation | Split | Prompting:
    """Return the protocol, with the sums of its rounds made in the way of those protections that have a part there.

    Args:
        clients: that train.
        rate: share of them that is asked in a round.

    Raises:
        SettingError: naming the pair, if what the server makes of a round is no weighted sum of updates.
    """
    for protection in job.protection:
        if not isinstance(protection, OnSum):
            continue
        name = f"protection: {name_of(protection)}"
        if not isinstance(protocol, Averaging):
            raise SettingError(
                f"{name} does not go with protocol: {protocol.kind}: it is of sums of updates; choose protocol: averaging, or leave the protection out"
            )
        rule = protocol.aggregation
        traits = traits_of(rule)
        if not traits.linear or traits.counts_clients:  # the latter keep of each client what it sent last, or its control variate
            raise SettingError(
                f"{name} does not go with aggregation: {getattr(rule, 'kind', type(rule).__name__)}, which needs more than the sum of all updates; "
                "choose fedavg, fedavgm, fedadam, ffa-lora or another rule that is linear, or leave the protection out"
            )
        protocol = replace(protocol, aggregation=protection.on_sum(rule, clients=clients, rate=rate))
    return protocol


def name_of(protection: Protection) -> str:
    """Return the name by which a job chooses it, or that of its class."""
    return str(getattr(protection, "kind", type(protection).__name__))
