"""Rows of clients.parquet: what came of asking a client in a round, as it is written, and what others go by of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..records import ClientFailure, ClientId, Fact, Reply, Traffic


@dataclass(frozen=True, kw_only=True)
class Worked:
    """What a row says of a client's work; fields are called as its columns."""

    client: ClientId
    seconds: float  # who has worked says how long, in every protocol
    attempt: int = 1
    rank: int = 0  # of LoRA, where the server chooses it
    examples: int = 0
    tokens: int = 0  # trained on
    forward_tokens: int = 0  # of forward passes alone
    last_loss: float | None = None
    evaluation_seconds: float = 0.0
    peak_bytes: int = 0
    free_bytes: int | None = None
    epsilon: float | None = None
    epsilon_next: float | None = None


_COLUMNS = tuple(each.name for each in fields(Worked))


def row_of(reply: Reply, failure: ClientFailure | None, said: Mapping[str, Fact]) -> dict[str, Any]:
    """Return the row of a client that was asked.

    Args:
        failure: why its answer is of no use, or None.
        said: what the answer says of its work; unused with a failure.
    """
    row: dict[str, Any] = {"client": reply.client, "up_bytes": reply.traffic.up_bytes, "down_bytes": reply.traffic.down_bytes}
    row["exchange_seconds"] = reply.traffic.seconds
    return {**row, **said} if failure is None else {**row, "error": f"{failure.kind}: {failure.mark}"}


def worked(row: Mapping[str, Any]) -> Worked | None:
    """Return what a row says of its client's work; None if it has none: it failed, or never answered."""
    return Worked(**{name: row[name] for name in _COLUMNS if name in row}) if "seconds" in row else None


def of_round(rows: Iterable[dict[str, Any]], index: int) -> list[dict[str, Any]]:
    """Return those of a run's rows that are of one round."""
    return [row for row in rows if row["round"] == index]


def traffic_of(row: Mapping[str, Any]) -> Traffic:
    """Return what was exchanged with the client of a row; nothing with one that never answered."""
    exchange = row.get("exchange_seconds", 0.0)
    return Traffic(up_bytes=row.get("up_bytes", 0), down_bytes=row.get("down_bytes", 0), seconds=exchange)
