"""Which client is cut where, and what the server remembers of a client from round to round.

With `cut: auto` the server decides before each round, for each client that it asks, from what the client's last round took: operations a second on
both sides, bytes a second between them, and the memory that the client has (`planning`). A client is cut elsewhere only where that makes its round
shorter by more than 5 %, or its part does not fit any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor

from ...errors import SettingError
from ...records import ClientId, ClientInfo, Traffic
from ...tensors import Tensors
from .cost import client_flops, client_memory_bytes, server_flops, tokens_per_round
from .messages import End
from .planning import CutCost, Means, Work, choose, cut_costs
from .state import Memory
from .terms import Terms

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Past:
    """What the server remembers of one client."""

    lost_H: Tensor | None = None  # what a code has lost of the gradients sent to it
    cut: int | None = None  # in its last round, where cuts change
    means: Means | None = None  # that its last round reported, where cuts change
    tokens_per_example: float = 0.0
    moments: Tensors = field(default_factory=dict)  # of the optimizer of its server part, named "field/weight", if it is kept

    @classmethod
    def read(cls, memory: Memory, client: ClientId) -> "Past":
        """Return what the server remembers of a client."""
        cut, means = memory.cut.get(client), memory.means.get(client)
        past = cls(
            lost_H=memory.lost.get(client),
            cut=None if cut is None else int(cut),
            moments=memory.moments.get(client, {}),
        )
        if means is None:
            return past
        client_speed, server_speed, bandwidth, memory_bytes, length = means.tolist()
        found = Means(client_flops=client_speed, server_flops=server_speed, bandwidth=bandwidth, memory_bytes=memory_bytes)
        return replace(past, means=found, tokens_per_example=length)

    def put(self, memory: Memory, client: ClientId) -> Memory:
        """Return what the server remembers, with this of a client in the place of what it had."""
        cut = None if self.cut is None else torch.tensor(self.cut)
        values = None
        if (means := self.means) is not None:
            speeds = (means.client_flops, means.server_flops, means.bandwidth)
            values = torch.tensor((*speeds, means.memory_bytes or 0.0, self.tokens_per_example), dtype=torch.float64)
        return Memory(
            lost=_with(memory.lost, client, self.lost_H),
            cut=_with(memory.cut, client, cut),
            means=_with(memory.means, client, values),
            moments=_with(memory.moments, client, self.moments or None),
        )


def _with(values: Mapping[ClientId, T], client: ClientId, value: T | None) -> dict[ClientId, T]:
    """Return the values with that of one client, or, of None, without it."""
    others = {name: other for name, other in values.items() if name != client}
    return others if value is None else {**others, client: value}


def decide(terms: Terms, info: ClientInfo, past: Past, *, together: int) -> int:
    """Return where a client is cut in the next round: as the job says, or as its last round makes best.

    Args:
        together: clients in the round, which share the server.
    """
    fixed = terms.fixed_cut(info.id)
    if fixed is not None:
        return fixed
    present = past.cut or terms.layout.cut
    if past.means is None:
        return present
    work = Work(examples=info.examples, tokens_per_example=past.tokens_per_example)
    costs = {cut: cost for cut, cost in cut_costs(terms, work, past.means, together=together).items() if cut in terms.choices}
    try:
        return choose(costs, present=present).cut
    except SettingError:  # it fits nowhere: the least part is the best that can be done
        return min(cut for cut, cost in costs.items() if isinstance(cost, CutCost))


def reported_means(terms: Terms, end: End, traffic: Traffic, *, server_seconds: float, past: Past) -> Past:
    """Return what a client's round says of its means; what it does not say stays as it was.

    Args:
        terms: cut as the round was.
    """
    tokens, seconds, examples = end.tokens, end.seconds, max(1, end.examples)
    assert end.free_bytes is not None  # the manifest requires it where the server chooses the cut
    before = past.means or Means(client_flops=1.0, server_flops=1.0, bandwidth=1.0)
    spent = client_flops(terms.layout, tokens)
    served = server_flops(terms.layout, tokens)
    means = Means(
        client_flops=spent / seconds if spent > 0 and seconds > 0 else before.client_flops,
        server_flops=served / server_seconds if served > 0 and server_seconds > 0 else before.server_flops,
        bandwidth=(traffic.up_bytes + traffic.down_bytes) / traffic.seconds if traffic.seconds > 0 else before.bandwidth,
        memory_bytes=float(end.free_bytes) + client_memory_bytes(terms),
    )
    seen = tokens_per_round(terms.local, examples, 1.0)
    return replace(past, means=means, tokens_per_example=tokens / seen)
