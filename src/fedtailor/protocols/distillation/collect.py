"""One round's answers: which can be used, and what they cost."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch

from ...errors import OffManifest
from ...messages import read
from ...messages.record import facts_of
from ...messages.rows import row_of
from ...messages.wires.logits import LogitsWire
from ...records import ClientFailure, ClientId, Reply
from ..rounds.counts import capped
from .messages import Said
from .state import Taught


def collect(
    replies: Iterable[Reply], fault: Callable[[Said], ClientFailure | None]
) -> tuple[dict[ClientId, Said], list[dict[str, Any]], dict[ClientId, ClientFailure]]:
    """Return the usable answers, a row for each client, and the failures; all in the order of client ids.

    Args:
        fault: why an answer that passed the gate is of no use, or None.
    """
    found: dict[ClientId, Reply] = {}
    for reply in replies:
        found.setdefault(reply.client, reply)  # a second answer to one request counts for nothing
    answers: dict[ClientId, Said] = {}
    failures: dict[ClientId, ClientFailure] = {}
    rows = []
    for client, reply in sorted(found.items()):
        said = None if reply.message is None else read(reply.message, Said)
        failure = reply.error if said is None else fault(said)
        if failure is not None:
            failures[client] = failure
        elif said is not None:
            answers[client] = replace(said, said=dict(said.said))  # a large message makes its tensors again each time
        work = {} if said is None else facts_of(said, but=("version", "public_fit", "label_counts"))
        rows.append(row_of(reply, failure, work))
    return answers, rows, failures


def fault_in(
    said: Said, version: int, *, wire: LogitsWire, places: int, scored: int | None, counts_off: float = math.inf
) -> ClientFailure | None:
    """Return why an answer that passed the gate is of no use in the round after `version`, or None.

    Args:
        places: logits that the round asks for.
        scored: public rows that the round asks to be scored; None: it asks for no scores.
        counts_off: by how much the sum of label counts may differ from the number of examples: 0 where they are reported without noise.
    """
    mark, examples, counts, scores = None, said.examples, said.label_counts, said.scores
    if said.version != version:
        mark = "StaleVersion"
    elif not examples > 0:
        mark = "OtherWeight"
    elif counts is not None and (
        len(counts) != wire.classes or any(count < 0 for count in counts) or abs(sum(counts) - examples) > counts_off
    ):
        mark = "OtherLabels"
    elif scores is not None and len(scores) != scored:
        mark = "OtherScores"
    else:
        try:
            wire.check(said.said, places)
        except OffManifest:
            mark = "OtherLogits"
    return None if mark is None else ClientFailure(kind="off-manifest", mark=mark)


def weights_of(answers: Mapping[ClientId, Said], most: float) -> dict[ClientId, float]:
    """Return what each client counts: its number of examples, of which none is more than the share `most` of all."""
    weights = capped([float(said.examples) for said in answers.values()], most)
    return dict(zip(answers, weights, strict=True))


def with_said(kept: Taught, answers: Mapping[ClientId, Said]) -> Taught:
    """Return what the server keeps, with what clients said of themselves."""
    fits = {c: torch.tensor([said.public_fit], dtype=torch.float64) for c, said in answers.items() if said.public_fit is not None}
    counts = {
        c: torch.tensor(said.label_counts, dtype=torch.int64) for c, said in answers.items() if said.label_counts is not None
    }
    scores = {c: said.scores.clone() for c, said in answers.items() if said.scores is not None}
    return replace(kept, fits={**kept.fits, **fits}, counts={**kept.counts, **counts}, scores={**kept.scores, **scores})
