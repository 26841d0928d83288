"""What one client will spend: bytes, operations, seconds and memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..assembly import Parts
from ..ledger import forward_flops, train_flops
from ..records import ClientId, Cost
from ..tasks.evaluate import writes_texts
from .means import Means, Speed, link_seconds
from .memory import Memory, memory_of
from .step import Size, StepCount, batches_size, longest_rows
from .work import Work, work_of

Counts: TypeAlias = Mapping[int, StepCount]  # by the id of the worker that was counted


@dataclass(frozen=True, kw_only=True)
class ClientEstimate:
    """What one client spends."""

    up_bytes: float  # in a round
    down_bytes: float
    flops: float  # of a round
    formula_flops: float  # the same by the ledger's formula, of which the run's summary has the sum
    evaluation_flops: float  # of one evaluation, texts apart
    writing_flops: float  # of the texts of one evaluation, if each is as long as it may be
    seconds: float | None  # of a round, computing alone
    evaluation_seconds: float | None
    link_seconds: float | None  # of a round
    memory: Memory


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What an estimate stands on."""

    parts: Parts
    means: Means
    counts: Counts
    speed: Speed | None
    program: float  # bytes of a process beside its weights


def client_estimate(basis: Basis, client: ClientId, cost: Cost) -> ClientEstimate:
    """Return what one client spends; `cost` is what its protocol says of a round."""
    parts, means, speed = basis.parts, basis.means, basis.speed
    worker, sizes, work = parts.clients[client].worker, parts.clients.sizes_of(client), work_of(parts, client)
    count, state = basis.counts.get(id(worker)), parts.clients.get(client)
    formula, flops, share = _training(cost, work, count, parts, client)
    evaluation, writing = _evaluation(work, count, parts, client)
    largest = Size()
    if state is not None and parts.protocol.trains and len(state.train):
        largest = batches_size(state.train, [longest_rows(state.train, parts.protocol.local.batch_size)])
    return ClientEstimate(
        up_bytes=cost.up_bytes,
        down_bytes=cost.down_bytes,
        flops=flops,
        formula_flops=formula,
        evaluation_flops=evaluation,
        writing_flops=writing,
        seconds=flops / speed.train if speed else None,
        evaluation_seconds=evaluation / speed.evaluate if speed else None,
        link_seconds=link_seconds(
            means,
            size_bytes=cost.up_bytes + cost.down_bytes,
            exchanges=parts.protocol.exchanges_a_round(len(state.train) if state else 0),
        ),
        memory=memory_of(
            cost,
            count,
            exchanged=sizes.shared_bytes,
            trained=sizes.trained,
            program=basis.program,
            largest=largest,
            share=share,
            on_gpu=parts.worker.device.type == "cuda",
        ),
    )


def _training(cost: Cost, work: Work, count: StepCount | None, parts: Parts, client: ClientId) -> tuple[float, float, float]:
    """Return the operations of a client's round, by formula and as counted, and the share of a step that it computes, where the server computes the rest.

    The protocol's cost is for examples of mean length; in its place stand the batches that are drawn.
    """
    sizes, state = parts.clients.sizes_of(client), parts.clients.get(client)
    if state is None or not work.round.rows:
        return cost.train_flops, cost.train_flops, 1.0
    local, mean = parts.protocol.local, float(state.train.sizes_N.float().mean())
    seen = len(state.train) * local.epochs if local.steps is None else local.steps * local.batch_size * local.accumulate
    usual = train_flops(int(seen * mean), sizes)
    drawn = train_flops(round(work.round.tokens), sizes)
    share = min(1.0, cost.train_flops / usual)
    others = cost.train_flops - share * usual  # beside training on its own examples, such as distillation's alignment
    counted = count.train.flops(work.round) if count else drawn
    return share * drawn + others, share * counted + others * counted / drawn, share


def _evaluation(work: Work, count: StepCount | None, parts: Parts, client: ClientId) -> tuple[float, float]:
    """Return the operations of one evaluation, and of its texts, each as long as it may be."""
    sizes, state = parts.clients.sizes_of(client), parts.clients.get(client)
    if state is None or not parts.protocol.evaluates:
        return 0.0, 0.0
    tokens = sum(int(part.sizes_N.sum()) for part in (state.validation, state.test) if len(part))
    plain = count.evaluate.flops(work.evaluation) if count else forward_flops(tokens, sizes)
    if not writes_texts(parts.worker.task, parts.job.evaluation):
        return plain, 0.0
    new = work.prompts * parts.job.evaluation.generate.max_new_tokens
    return plain, forward_flops(round(work.prompt_tokens + new), sizes)
