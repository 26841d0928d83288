"""What the rows of a round's clients have beside their work: what observers saw, and each one's share under rules that choose."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...interfaces import Seen
from ...records import ClientId, Outcome

LITTLE = 0.5  # of an equal share: whoever has less is named


def with_shares(rows: Sequence[Mapping[str, Any]], outcome: Outcome) -> list[dict[str, Any]]:
    """Return the rows of a round's clients, with the share of each where the rule gave any."""
    return [
        {**row, "share": outcome.shares[client]} if (client := str(row["client"])) in outcome.shares else {**row} for row in rows
    ]


def with_seen(row: Mapping[str, Any], seen: Sequence[Seen]) -> dict[str, Any]:
    """Return the row of a client with what observers found of it."""
    return {**row, **{name: value for each in seen for name, value in each.clients.get(row["client"], {}).items()}}


def counted_less(outcome: Outcome) -> dict[str, float]:
    """Return {"counted_less": how many clients had less than half of an equal share}, or nothing where a rule does not choose."""
    return {"counted_less": float(len(_below(outcome.shares)))} if outcome.shares else {}


def who_counts_less(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[ClientId]]:
    """Return who was left out of a round's step, and who had less than half of an equal share, of the rows of its clients."""
    shares: dict[ClientId, float] = {row["client"]: row["share"] for row in rows if "share" in row}
    below = _below(shares)
    left_out = [client for client in below if shares[client] == 0]
    named = {"left_out": left_out, "less_than_half": [client for client in below if shares[client] > 0]}
    return {what: clients for what, clients in named.items() if clients}


def _below(shares: Mapping[ClientId, float]) -> list[ClientId]:
    return sorted(client for client, share in shares.items() if share * len(shares) < LITTLE)
