"""How much each client computes in a round and in an evaluation: the batches that it will form, padding included."""

import math
from dataclasses import dataclass, field
from itertools import chain, islice

from ..assembly import Parts
from ..chance import stream
from ..learning.local import LocalTraining
from ..learning.training import step_batches
from ..records import ClientId
from ..tasks.losses import SAMPLE_ROWS
from ..tasks.shard import Shard, evaluation_batches
from .step import Size, batches_size

ROUNDS_DRAWN = 2  # whose batches are looked at
BATCHES_DRAWN = 2_000  # of each of these rounds, or one step's: the others are counted as large as these are on average


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one client computes, as sizes of batches."""

    round: Size = field(default_factory=Size)  # of local training
    evaluation: Size = field(default_factory=Size)  # of its validation and test parts
    prompt_tokens: float = 0.0  # of the texts that it writes in an evaluation that writes any
    prompts: int = 0  # of these texts


def work_of(parts: Parts, client: ClientId) -> Work:
    """Return what a client computes; nothing for one of which no examples are here."""
    if client not in parts.clients or not parts.protocol.evaluates:
        return Work()
    has, seed = parts.clients.prepare(client), parts.job.seed
    local = parts.protocol.local if parts.protocol.trains else None
    trained = _round(has.train, local, seed, client) if local and len(has.train) else Size()
    own = [part for part in (has.validation, has.test) if len(part)]
    return Work(
        round=trained,
        evaluation=sum((evaluation_size(part, parts.job.evaluation.batch_size) for part in own), Size()),
        prompts=len(has.test),
        prompt_tokens=float(has.test.sizes_N.sum()) if len(has.test) else 0.0,
    )


def evaluation_size(shard: Shard, batch_size: int) -> Size:
    """Return how large the batches of an evaluation are together."""
    return batches_size(shard, evaluation_batches(shard.sizes_N.tolist(), batch_size))


def sample_size(shard: Shard, batch_size: int) -> Size:
    """Return the same of the rows that a round's gain is measured on."""
    whole = evaluation_size(shard, min(batch_size, SAMPLE_ROWS)) if len(shard) else Size()
    return whole * min(1.0, SAMPLE_ROWS / max(1, len(shard)))


def _round(shard: Shard, local: LocalTraining, seed: int, client: ClientId) -> Size:
    """Return how large the batches of a round are together: the mean over the first rounds, whose draws are known."""
    steps, found = local.steps_per_round(len(shard)), Size()
    batches_a_step = min(local.accumulate, math.ceil(len(shard) / local.batch_size))
    drawn = min(steps, max(1, BATCHES_DRAWN // batches_a_step))
    for index in range(1, ROUNDS_DRAWN + 1):
        groups = step_batches(shard, local, stream(seed, "batches", index, client))
        found += batches_size(shard, chain.from_iterable(islice(groups, drawn)))
    return found * (steps / drawn / ROUNDS_DRAWN)
