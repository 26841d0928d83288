"""What to say where a round has come to nothing."""

from collections.abc import Mapping

from ...diverged import advice, wording
from ...records import ClientFailure, ClientId

REASONS_SHOWN = 5  # clients that are named one by one


def too_few(
    index: int,
    what: str,
    *,
    answered: int,
    asked: int,
    failures: Mapping[ClientId, ClientFailure],
    quorum: float,
    least: int = 1,
    attempts: int,
    rate: float,
) -> str:
    """Return why a round came to nothing, client by client, and how to continue.

    Args:
        what: clients were to send.
        least: answers of which the aggregation rule can make anything.
        rate: the learning rate of local training.
    """
    named = list(failures.items())[:REASONS_SHOWN]
    reasons = "; ".join(f"{client}: {wording(failure.kind, failure.mark)}" for client, failure in named)
    more = f"; and {len(failures) - len(named)} more" if len(failures) > len(named) else ""
    tip = advice((failure.mark for failure in failures.values()), rate=rate)
    tip = tip or "see clients/ID/log.txt, fix the cause and use fedtailor run --resume RUN"
    needed = f", and this aggregation rule takes {least} answers at least" if least > 1 else ""
    return (
        f"round {index}: {answered} of {asked} clients sent {what}, the quorum is {quorum:.0%}{needed} (asked {attempts} times). "
        f"{reasons}{more}. The state is saved: {tip}"
    )
