"""What the protections of a job make of its protocol."""

from dataclasses import replace
from typing import Any

from ..errors import SettingError
from ..interfaces import Checking, Lengthening, OnSum, Plan
from ..job import Job
from ..job.together import check_job
from ..privacy import RunBudget, Spending, noise
from ..protocols import Settings
from ..protocols.rounds.sampling import Coins, clients_per_round
from ..records import ClientId
from ..tensors import Tensors
from .fits import Warn
from .robust import check_robust


def plan_of(job: Job, shared: Tensors, *, clients: int) -> Plan:
    """Return what is known of a run before its first round.

    Args:
        shared: the exchanged weights.
        clients: that train.
    """
    values = sum(shared[name].numel() for name in job.protocol.sent(shared, 1))
    per_round = clients_per_round(clients, fraction=job.clients.fraction, per_round=job.clients.per_round)
    plan = Plan(clients=clients, rate=per_round / max(1, clients), rounds=job.stop.rounds, values=values)
    return replace(plan, lengthened=sum(part.lengthens(plan) for part in job.protection if isinstance(part, Lengthening)))


def settled(given: Job, warn: Warn) -> Job:
    """Return the job with the numbers that `auto` stands for and without what its protections replace, which is said."""
    job = given.decided()
    for name in ("keep", "patience"):
        then, now = getattr(given.stop, name), getattr(job.stop, name)
        if then != now:
            warn(
                f"protection: stop.{name} is {'null' if now is None else now} here, and not {then}: clients' validation data must not choose a round"
            )
    return job


def budget_of(job: Job, plan: Plan, warn: Warn, *, own: RunBudget | None) -> RunBudget | None:
    """Return what counts the privacy that a run spends; None if nothing in the job spends any.

    Args:
        own: what clients spend by themselves, if they do.

    Raises:
        SettingError: if the job does not go with what spends it, or several protections do.
    """
    for protection in job.protection:
        for note in protection.check(job, plan) if isinstance(protection, Checking) else ():
            warn(note)
    spending = [protection for protection in job.protection if isinstance(protection, Spending)]
    if not spending:
        return own
    if len(spending) > 1:
        raise SettingError(
            f"protection lists {len(spending)} entries that spend a privacy budget, which would be counted apart; keep one"
        )
    return spending[0].budget(plan)


def coins_of(budget: RunBudget | None) -> Coins | None:
    """Return the coins that draw the clients of a round, where who takes part must stay secret; every throw is charged."""
    if budget is None or budget.coin is None:
        return None
    coin = budget.coin

    def charge(round: int, asked: list[ClientId]) -> None:
        budget.charge(asked)

    return Coins(toss=lambda: noise.coin(coin, noise.system_bytes), drawn=charge)


def summed_protocol(job: Job, protocol: Settings, plan: Plan, warn: Warn) -> Settings:
    """Return the protocol, with the sums of its rounds made in the way of those protections that have a part there.

    Raises:
        SettingError: naming the pair, if what the server makes of a round is no weighted sum of updates, or if a round asks too few clients.
    """
    check_robust(protocol, plan, warn)
    check_job(job, protocol.aggregation)
    for protection in job.protection:
        if isinstance(protection, OnSum):
            rule: Any = protocol.aggregation
            protocol = protocol.with_rule(protection.on_sum(rule, plan))
    return protocol
