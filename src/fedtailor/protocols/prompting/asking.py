"""One exchange of prompting: clients are asked for scores, usable answers are added up in the order of their ids."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...diverged import MOST_LOSS
from ...errors import RunError
from ...interfaces import Federation
from ...messages import Record, read, write
from ...messages.record import facts_of
from ...messages.rows import row_of, traffic_of
from ...prompting import Score as Sums
from ...prompting import add_scores
from ...records import ClientFailure, ClientId, Fact, Reply
from ..rounds.attempts import Tried, until_enough
from ..rounds.sampling import Sampler
from .messages import Scored


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What one round gave."""

    sums: list[Sums] | None  # of each candidate over all clients that scored; None: none did
    rows: list[dict[str, Any]]
    failures: list[tuple[ClientId, ClientFailure]]


@dataclass(frozen=True, kw_only=True)
class _Exchange:
    answers: Mapping[ClientId, Scored]
    rows: Sequence[Mapping[str, Any]]


def ask_scores(
    federation: Federation,
    sampler: Sampler,
    request: Record,
    *,
    version: int,
    most: int,
    candidates: int,
    quorum: float,
    training: bool = True,
) -> Answered:
    """Ask the clients of a round, and once more if too few answered.

    Args:
        version: that the request names.
        most: examples of a client that it lets count.
        candidates: that it asks about.
        training: whether it is about clients' training examples, of which the server knows how many each has.

    Raises:
        TooFewClients: if less than the quorum answered, twice.
    """
    index = version + 1
    has = {info.id: info.examples for info in sampler.clients}
    bounds = {client: min(most, examples) if training else most for client, examples in has.items()}

    def ask() -> Tried[_Exchange]:
        asked = sampler.draw(index)
        replies = federation.ask(dict.fromkeys(asked, write(request)))
        found, failures = _collect(replies, version=version, most=bounds, candidates=candidates)
        return Tried(found=found, asked=len(asked), answered=len(found.answers), failures=failures, rows=lambda: found.rows)

    enough = until_enough(ask, index=index, what="usable scores", quorum=quorum, learning_rate=1.0)
    rows = [{**row, "rungs": 1} for row in enough.numbered(enough.found.rows)]
    return Answered(sums=_sums(enough.found.answers, has), rows=rows, failures=enough.failures)


def nobody_scored(index: int, few: int) -> RunError:
    """Return what to raise where no client has scored."""
    return RunError(
        f"round {index}: no client has {few} examples to score prompts on (protocol.few), or all withhold their scores; lower few, "
        "or give clients more examples. The state is saved"
    )


def figures(scores: Sequence[Sums], *, named: bool = True) -> dict[str, float]:
    """Return what a row of rounds.parquet has of the candidates' scores.

    Args:
        named: whether there are labels, of which some are named rightly.
    """
    losses = sorted(score.loss for score in scores if math.isfinite(score.loss))
    best = min(scores, key=lambda score: score.loss)
    return {
        "candidates": float(len(scores)),
        "scored": float(best.examples),
        "best_loss": losses[0],
        "median_loss": statistics.median(losses),
        "worst_loss": losses[-1],
        **({"best_accuracy": best.right / best.examples} if named else {}),
    }


def with_traffic(rows: Sequence[Mapping[str, Any]], traffic: Mapping[ClientId, tuple[int, int]]) -> list[dict[str, Any]]:
    """Return rows of clients with the bytes of one more exchange, each counted once."""
    left, found = dict(traffic), []
    for row in reversed(rows):  # the last attempt counts
        up, down = left.pop(row["client"], (0, 0))
        sent = traffic_of(row)
        found.append({**row, "up_bytes": sent.up_bytes + up, "down_bytes": sent.down_bytes + down})
    return found[::-1]


def _collect(
    replies: Iterable[Reply], *, version: int, most: Mapping[ClientId, int], candidates: int
) -> tuple[_Exchange, dict[ClientId, ClientFailure]]:
    """Return the usable answers with a row for each client, and the failures; all in the order of client ids."""
    found: dict[ClientId, Reply] = {}
    for reply in replies:
        found.setdefault(reply.client, reply)  # a second answer to one request counts for nothing
    answers: dict[ClientId, Scored] = {}
    failures: dict[ClientId, ClientFailure] = {}
    rows = []
    for client, reply in sorted(found.items()):
        scored = None if reply.message is None else read(reply.message, Scored)
        failure = reply.error if scored is None else _fault(scored, version=version, most=most[client], candidates=candidates)
        if failure is not None:
            failures[client] = failure
        elif scored is not None:
            answers[client] = scored
        rows.append(row_of(reply, failure, {} if scored is None else _work_of(scored)))
    return _Exchange(answers=answers, rows=rows), failures


def _work_of(scored: Scored) -> dict[str, Fact]:
    """Return the columns of an answer; those of training are there as in every protocol, though nobody trains."""
    said = facts_of(scored, but=("version", "loss_sums", "right", "scored"))
    return {**said, "examples": scored.scored, "tokens": 0, "steps": 0}


def _fault(scored: Scored, *, version: int, most: int, candidates: int) -> ClientFailure | None:
    """Return why an answer that passed the gate is of no use, or None."""
    mark = None
    if scored.version != version:
        mark = "StaleVersion"
    elif scored.scored > most:
        mark = "OtherCount"
    elif scored.loss_sums is not None and (
        len(scored.loss_sums) != candidates
        or scored.right is None
        or len(scored.right) != candidates
        or max(scored.right) > scored.scored
        or max(scored.loss_sums) > MOST_LOSS * scored.scored
    ):
        mark = "OtherScores"
    return None if mark is None else ClientFailure(kind="off-manifest", mark=mark)


def _sums(answers: Mapping[ClientId, Scored], most: Mapping[ClientId, int]) -> list[Sums] | None:
    """Return each candidate's sums over all clients that scored, in the order of their ids; None if none did.

    Args:
        most: examples that a client counts for at most: as many as it trains on, which is known from the start. Of its validation part it alone
            says how large it is, and with more its sums are scaled down, so that none decides by what it claims.
    """
    having = [(client, one, one.loss_sums, one.right) for client, one in sorted(answers.items()) if one.scored]
    sums = [
        [_counted(loss, hits, one.scored, most[client]) for loss, hits in zip(losses, right, strict=True)]
        for client, one, losses, right in having
        if losses is not None and right is not None
    ]
    return add_scores(sums) if sums else None


def _counted(loss: float, hits: int, examples: int, most: int) -> Sums:
    """Return one client's sums of a candidate, as over `most` examples if they are over more."""
    if examples <= most:
        return Sums(loss_sum=loss, right=hits, examples=examples)
    share = most / examples
    return Sums(loss_sum=share * loss, right=round(share * hits), examples=most)
