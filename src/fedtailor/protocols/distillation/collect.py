"""One round's answers: which can be used, and what they cost."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...errors import OffManifest
from ...messages.wires.logits import LogitsWire
from ...records import ClientFailure, ClientId, Message, Reply
from ..rounds.counts import capped
from .messages import LOCAL_FACTS, OWN_GAIN_FACTS, SCORES, logits_in

FIT_OF, COUNTS_OF, SCORES_OF = TOLD_OF = (
    "fit/",
    "counts/",
    "scores/",
)  # in front of a client's name: what it told of itself, kept in the server's state


def collect(
    replies: Iterable[Reply], fault: Callable[[Message], ClientFailure | None]
) -> tuple[dict[ClientId, Message], list[dict[str, Any]], dict[ClientId, ClientFailure]]:
    """Return the usable answers, a row for each client, and the failures; all in the order of client ids.

    Args:
        fault: why a message that passed the gate is of no use, or None.
    """
    found: dict[ClientId, Reply] = {}
    for reply in replies:
        found.setdefault(reply.client, reply)  # a second answer to one request counts for nothing
    answers: dict[ClientId, Message] = {}
    failures: dict[ClientId, ClientFailure] = {}
    rows = []
    for client, reply in sorted(found.items()):
        traffic, message = reply.traffic, reply.message
        row: dict[str, Any] = {"client": client, "up_bytes": traffic.up_bytes, "down_bytes": traffic.down_bytes}
        row["exchange_seconds"] = traffic.seconds
        failure = reply.error if message is None else fault(message)
        if failure is not None:
            failures[client] = failure
            row["error"] = f"{failure.kind}: {failure.mark}"
        elif message is not None:
            row |= {
                name: message.facts[name]
                for name in (*LOCAL_FACTS, *OWN_GAIN_FACTS)
                if name in message.facts and name != "version"
            }
            answers[client] = replace(message, tensors=dict(message.tensors))  # a large message makes its tensors anew each time
        rows.append(row)
    return answers, rows, failures


def fault_in(
    message: Message, version: int, *, wire: LogitsWire, places: int, scored: int | None, counts_off: float = math.inf
) -> ClientFailure | None:
    """Return why a message that passed the gate is of no use in the round after `version`, or None.

    Args:
        places: logits that the round asks for.
        scored: public rows that the round asks to be scored; None: it asks for no scores.
        counts_off: by how much the sum of label counts may differ from the number of examples: 0 where they are told without noise.
    """
    mark, examples = None, int(message.facts["examples"])  # type: ignore[arg-type]
    counts, scores = message.facts.get("label_counts"), message.tensors.get(SCORES)
    if message.facts["version"] != version:
        mark = "StaleVersion"
    elif not examples > 0:
        mark = "OtherWeight"
    elif isinstance(counts, list) and (
        len(counts) != wire.classes
        or any(int(count) < 0 for count in counts)
        or abs(sum(int(count) for count in counts) - examples) > counts_off
    ):
        mark = "OtherLabels"
    elif scores is not None and len(scores) != scored:
        mark = "OtherScores"
    else:
        try:
            wire.check(logits_in(message.tensors), places)
        except OffManifest:
            mark = "OtherLogits"
    return None if mark is None else ClientFailure(kind="off-manifest", mark=mark)


def limited_answers(answers: Mapping[ClientId, Message], most: float) -> Mapping[ClientId, Message]:
    """Return the answers, in which no client's number of examples is more than the share `most` of all."""
    if most >= 1:
        return answers
    weights = capped([float(message.facts["examples"]) for message in answers.values()], most)  # type: ignore[arg-type]
    return {
        client: replace(message, facts={**message.facts, "examples": weight})
        for (client, message), weight in zip(answers.items(), weights, strict=True)
    }


def told_by(answers: Mapping[ClientId, Message]) -> dict[str, Tensor]:
    """Return what clients told of themselves, as tensors that a checkpoint can hold."""
    found: dict[str, Tensor] = {}
    for client, message in answers.items():
        if "public_fit" in message.facts:
            found[f"{FIT_OF}{client}"] = torch.tensor([message.facts["public_fit"]], dtype=torch.float64)
        if "label_counts" in message.facts:
            found[f"{COUNTS_OF}{client}"] = torch.tensor(message.facts["label_counts"], dtype=torch.int64)
        if SCORES in message.tensors:
            found[f"{SCORES_OF}{client}"] = message.tensors[SCORES].clone()
    return found
