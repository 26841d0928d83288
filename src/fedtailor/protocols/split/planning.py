"""What each cut costs in seconds, bytes and memory, and which one is best.

A round lasts as long as its slowest client, whose time at cut l is

    t(l) = F_client(l) / s_client + (up(l) + down(l)) / bandwidth + E * latency + F_server(l) * K / s_server

or, pipelined, the larger one of the server's term and of the other two; with operations F as in `cost` (4 N a token, 2 N where nothing before
the cut is trained), bytes of messages truly encoded, E exchanges, and K clients of a round that share one server. The best cut is the one with
the least t among those whose client part fits in memory; where others are within 5 % of it, the deepest of them, as deeper cuts reveal less of the
texts.

Sources: what is weighed (communication, client computation) is that of Split-FedLLMs in Yan et al., 2025, arXiv:2501.04436, which leaves the choice of the
split point open; cuts that differ per client stand in SplitFT, 2026, arXiv:2604.26388. The rule itself is our own reading: computing and sending take turns (a
client waits for its answers), and what the output head computes is left out, as in all operations of the ledger.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ...chance import stream
from ...errors import SettingError
from ...learning.worker import Worker
from ...records import ClientId
from ...tasks.shard import Shard, training_batches
from .cost import client_flops, exchanges, round_cost, server_flops, tokens_per_round
from .terms import Terms, check_cut

NEAR = 0.05  # share of the least time by which a deeper cut may take longer
PROFILED_STEPS, PROFILED_SECONDS = 3, 20.0  # what is measured, at most


@dataclass(frozen=True, kw_only=True)
class Means:
    """What one client has to work with."""

    client_flops: float  # operations a second
    server_flops: float  # operations a second, of the server's machine as a whole
    bandwidth: float  # bytes a second, each way
    latency_s: float = 0.0  # from a message to its answer, beside bytes and computing: the way there and back, and packing
    memory_bytes: float | None = None  # that the client's part may take; None: any


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one client trains on in a round."""

    examples: int
    tokens_per_example: float
    rounds: int = 1  # that it takes part in: with reuse, costs are means over them


@dataclass(frozen=True, kw_only=True)
class CutCost:
    """What one client's round costs at one cut."""

    cut: int
    client_seconds: float
    server_seconds: float
    link_seconds: float
    up_bytes: int
    down_bytes: int
    memory_bytes: int  # at the client, activations left out
    fits: bool = True  # in the client's memory
    overlapped: bool = False  # the server computes while the client and the link are at work

    @property
    def seconds(self) -> float:
        """The whole time of a round."""
        away = self.client_seconds + self.link_seconds
        return max(away, self.server_seconds) if self.overlapped else away + self.server_seconds


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A cut, and why it is the one."""

    cut: int
    reason: str


def cut_costs(terms: Terms, work: Work, means: Means, *, together: int = 1) -> dict[int, CutCost | str]:
    """Return what a round costs one client at each cut from 1 on, or why a cut cannot be.

    Args:
        together: clients in a round, which share the server.
    """
    found: dict[int, CutCost | str] = {}
    for cut in range(1, terms.layout.most_cut + 1):
        try:
            at = terms.at_cut(cut)
            check_cut(terms.settings, terms.worker, at.layout)
        except SettingError as error:
            found[cut] = str(error)
            continue
        found[cut] = _cost(at, work, means, together)
    return found


def _cost(terms: Terms, work: Work, means: Means, together: int) -> CutCost:
    spent = round_cost(terms, examples=work.examples, tokens_per_example=work.tokens_per_example, rounds=work.rounds)
    tokens = tokens_per_round(terms.local, work.examples, work.tokens_per_example)
    return CutCost(
        cut=terms.layout.cut,
        client_seconds=spent.train_flops / means.client_flops,
        server_seconds=server_flops(terms.layout, round(tokens)) * together / means.server_flops,
        link_seconds=(spent.up_bytes + spent.down_bytes) / means.bandwidth
        + exchanges(terms, terms.local.steps_per_round(work.examples)) * means.latency_s,
        up_bytes=spent.up_bytes,
        down_bytes=spent.down_bytes,
        memory_bytes=spent.memory_bytes,
        overlapped=terms.settings.pipelined,
        fits=means.memory_bytes is None or spent.memory_bytes <= means.memory_bytes,
    )


def slowest(of_clients: Mapping[ClientId, Mapping[int, CutCost | str]]) -> dict[int, CutCost | str]:
    """Return, at each cut, the client whose round lasts longest; or why one of them cannot be cut there."""
    found: dict[int, CutCost | str] = {}
    for costs in of_clients.values():
        for cut, cost in costs.items():
            worst = found.get(cut)
            if isinstance(worst, str):
                continue
            if isinstance(cost, str) or worst is None or (cost.fits, -cost.seconds) < (worst.fits, -worst.seconds):
                found[cut] = cost
    return found


def choose(costs: Mapping[int, CutCost | str], *, present: int | None = None) -> Choice:
    """Return the best cut; if `present` is as good but for 5 %, it stays.

    Raises:
        SettingError: if none is possible in the client's memory.
    """
    possible = [cost for cost in costs.values() if isinstance(cost, CutCost)]
    fitting = [cost for cost in possible if cost.fits]
    if not fitting:
        least = min((cost.memory_bytes for cost in possible), default=0)
        raise SettingError(
            f"no cut fits in the client's memory: the least takes {least:,} bytes; give more memory, or choose a smaller backbone"
        )
    fastest = min(fitting, key=lambda cost: (cost.seconds, -cost.cut))
    near = [cost for cost in fitting if cost.seconds <= fastest.seconds * (1 + NEAR)]
    if any(cost.cut == present for cost in near):
        return Choice(cut=present or 0, reason="no other is faster by more than 5 %")
    best = max((cost for cost in near), key=lambda cost: cost.cut)
    return Choice(cut=best.cut, reason=_reason(best, fastest, possible, fitting))


def _reason(best: CutCost, fastest: CutCost, possible: Sequence[CutCost], fitting: Sequence[CutCost]) -> str:
    shares = {"computing at the client": best.client_seconds, "the link": best.link_seconds, "the server": best.server_seconds}
    most = max(shares, key=shares.__getitem__)
    reason = f"its round takes {best.seconds:.3g} s, most of it for {most}"
    if best is fastest:
        reason += ": the least of all" if len(fitting) == len(possible) else ": the least of those that fit in memory"
    else:
        reason += f"; cut {fastest.cut} is the fastest with {fastest.seconds:.3g} s, and this one, within 5 % of it, reveals less of the texts"
    if len(fitting) < len(possible):
        reason += f"; {len(possible) - len(fitting)} cuts take more memory than the client has"
    return reason


def measured_flops(terms: Terms, shard: Shard) -> float:
    """Return the operations a second that this machine does in training the whole model on batches of `shard`; weights stay as they are."""
    worker, tokens, seconds = terms.worker, 0, 0.0
    sizes, local = shard.sizes_N.tolist(), terms.local
    draw = stream(worker.seed, "profile")
    device = [worker.device] if worker.device.type == "cuda" else []
    training = worker.model.training
    worker.model.train()
    try:
        with torch.random.fork_rng(devices=device):
            batches = training_batches(sizes, local.batch_size, draw)
            for step in range(PROFILED_STEPS + 1):
                rows = next(batches, None) or list(range(min(len(sizes), local.batch_size)))
                seen, took = _step(worker, shard, rows)
                if step:  # the first one is to warm up
                    tokens, seconds = tokens + seen, seconds + took
                if seconds > PROFILED_SECONDS:
                    break
    finally:
        worker.model.train(training)
        worker.model.zero_grad(set_to_none=True)
    whole = client_flops(terms.layout, tokens) + server_flops(terms.layout, tokens)
    return whole / seconds


def _step(worker: Worker, shard: Shard, rows: list[int]) -> tuple[int, float]:
    """Return the tokens of one forward and backward pass, and its seconds."""
    batch, began = worker.batch(shard, rows), time.perf_counter()
    loss, counted = worker.loss(batch)
    (loss / max(1, counted)).backward()  # type: ignore[no-untyped-call]
    if worker.device.type == "cuda":
        torch.cuda.synchronize(worker.device)
    return batch.tokens, time.perf_counter() - began
