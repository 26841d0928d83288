"""Failures in a run's events, by what they say."""

from collections.abc import Sequence
from typing import Any

from ..printable import printable
from ..report.read import Run

KINDS = ("failure", "stopped", "warning", "damaged-checkpoint")
SHOWN = 120  # characters of an event


def failures(run: Run, marks: Sequence[str]) -> list[dict[str, Any]]:
    """Return the events, and the rows of clients that gave no answer, whose text has one of the marks in it."""
    found = [{**event, "text": str(event.get("text") or event.get("reason") or "")} for event in run.events(*KINDS)]
    rounds, clients, errors = run.columns("clients", "round", "client", "error")
    found += [
        {"round": round, "client": client, "text": error}
        for round, client, error in zip(rounds, clients, errors, strict=True)
        if isinstance(error, str)
    ]
    return [event for event in found if any(mark.lower() in event["text"].lower() for mark in marks)]


def named(events: Sequence[dict[str, Any]]) -> str:
    """Return in a sentence how often it happened, to whom, and what the first event says."""
    who = sorted({str(event["client"]) for event in events if event.get("client")})
    rounds = sorted({int(event["round"]) for event in events if isinstance(event.get("round"), int)})
    times = len({(event.get("client"), event.get("round")) for event in events})
    to = f" at {', '.join(who[:5])}{' and others' if len(who) > 5 else ''}" if who else ""
    when = f" in round {rounds[0]}" if len(rounds) == 1 else f" in {len(rounds)} rounds" if rounds else ""
    text = printable(" ".join(events[0]["text"].split()))
    return f"{times} time{'s' if times > 1 else ''}{to}{when}: {text[:SHOWN]}{'…' if len(text) > SHOWN else ''}"
