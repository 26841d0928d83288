"""What one client will spend: bytes, operations, seconds and memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..assembly import Parts
from ..ledger import forward_flops, train_flops
from ..records import ClientId, Cost
from ..tasks.evaluate import writes_texts
from .alike import NONE, alike
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


@dataclass(frozen=True, kw_only=True)
class Computed:
    """What a client computes, and the memory that it takes."""

    flops: float
    formula_flops: float
    evaluation_flops: float
    writing_flops: float
    memory: Memory


def client_estimates(basis: Basis, costs: Mapping[ClientId, Cost]) -> dict[ClientId, ClientEstimate]:
    """Return what each client spends; `costs` is what their protocols say of a round.

    Of thousands of clients only some are looked at: the operations of the others are scaled by how much they have.
    """
    like = alike(basis.parts, costs)
    seen = {client: _computed(basis, client, costs[client]) for client in set(like.values())}
    found = {}
    for client, cost in costs.items():
        other = like[client]
        one = seen[client] if other == client else _scaled(seen[other], basis.parts, (client, other), (cost, costs[other]))
        found[client] = _estimate(basis, client, cost, one)
    return found


def _estimate(basis: Basis, client: ClientId, cost: Cost, one: Computed) -> ClientEstimate:
    means, speed, has = basis.means, basis.speed, basis.parts.clients.amounts.get(client, NONE)
    return ClientEstimate(
        up_bytes=cost.up_bytes,
        down_bytes=cost.down_bytes,
        flops=one.flops,
        formula_flops=one.formula_flops,
        evaluation_flops=one.evaluation_flops,
        writing_flops=one.writing_flops,
        seconds=one.flops / speed.train if speed else None,
        evaluation_seconds=one.evaluation_flops / speed.evaluate if speed else None,
        link_seconds=link_seconds(
            means,
            size_bytes=cost.up_bytes + cost.down_bytes,
            exchanges=basis.parts.protocol.exchanges_a_round(has.train),
        ),
        memory=one.memory,
    )


def _computed(basis: Basis, client: ClientId, cost: Cost) -> Computed:
    """Return what a client computes, from its examples."""
    parts, has = basis.parts, basis.parts.clients.amounts.get(client, NONE)
    worker, sizes, work = parts.clients.own_of(client).worker, parts.clients.sizes_of(client), work_of(parts, client)
    count, largest = basis.counts.get(id(worker)), Size()
    formula, flops, share = _training(cost, work, count, parts, client)
    evaluation, writing = _evaluation(work, count, parts, client)
    if parts.protocol.trains and has.train:
        train = parts.clients.prepare(client).train
        largest = batches_size(train, [longest_rows(train, parts.protocol.local.batch_size)])
    return Computed(
        flops=flops,
        formula_flops=formula,
        evaluation_flops=evaluation,
        writing_flops=writing,
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


def _scaled(one: Computed, parts: Parts, clients: tuple[ClientId, ClientId], costs: tuple[Cost, Cost]) -> Computed:
    """Return what the first of two similar clients computes, from what the second does."""
    mine, theirs = (parts.clients.amounts.get(client, NONE) for client in clients)
    train = costs[0].train_flops / costs[1].train_flops if costs[1].train_flops else 1.0
    measured = (mine.validation + mine.test) / max(1, theirs.validation + theirs.test)
    return Computed(
        flops=one.flops * train,
        formula_flops=one.formula_flops * train,
        evaluation_flops=one.evaluation_flops * measured,
        writing_flops=one.writing_flops * mine.test / max(1, theirs.test),
        memory=one.memory,
    )


def _training(cost: Cost, work: Work, count: StepCount | None, parts: Parts, client: ClientId) -> tuple[float, float, float]:
    """Return the operations of a client's round, by formula and as counted, and the share of a step that it computes, where the server computes the rest.

    The protocol's cost is for examples of mean length; in its place stand the batches that are drawn.
    """
    sizes = parts.clients.sizes_of(client)
    if not work.round.rows:
        return cost.train_flops, cost.train_flops, 1.0
    has, local = parts.clients.amounts[client], parts.protocol.local
    seen = has.train * local.epochs if local.steps is None else local.steps * local.batch_size * local.accumulate
    usual = train_flops(int(seen * has.tokens_per_example), sizes)
    drawn = train_flops(round(work.round.tokens), sizes)
    share = min(1.0, cost.train_flops / usual) if usual else 1.0  # with hardly an epoch a round, one step is taken all the same
    others = cost.train_flops - share * usual  # beside training on its own examples, such as distillation's alignment
    counted = count.train.flops(work.round) if count else drawn
    return share * drawn + others, share * counted + others * counted / drawn, share


def _evaluation(work: Work, count: StepCount | None, parts: Parts, client: ClientId) -> tuple[float, float]:
    """Return the operations of one evaluation, and of its texts, each as long as it may be."""
    if client not in parts.clients or not parts.protocol.evaluates:
        return 0.0, 0.0
    sizes, tokens = parts.clients.sizes_of(client), round(work.evaluation.tokens)
    plain = count.evaluate.flops(work.evaluation) if count else forward_flops(tokens, sizes)
    own = parts.clients.own_of(client).worker
    if not writes_texts(own.task, own.evaluation):
        return plain, 0.0
    new = work.prompts * parts.job.evaluation.generate.max_new_tokens
    return plain, forward_flops(round(work.prompt_tokens + new), sizes)
