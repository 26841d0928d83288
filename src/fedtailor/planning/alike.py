"""Clients whose examples an estimate looks at, and for each other client the one of these that it resembles most."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Mapping

import numpy as np

from ..assembly import Parts
from ..assembly.examples import KEPT, Amounts
from ..records import ClientId

NONE = Amounts(train=0, validation=0, test=0, tokens=0, longest=0)


def alike(parts: Parts, clients: Collection[ClientId]) -> Mapping[ClientId, ClientId]:
    """Return the client that each is estimated by: itself, or, with more clients than a run holds as tokens, one with about as much to train on.

    With so many clients, looking at all would prepare every client's examples again. Those that are looked at work with the same model and have the same
    parts as those that they stand for; they are spread evenly over the training tokens of their group, its longest example among them.
    """
    if len(clients) <= KEPT:
        return {client: client for client in clients}
    groups: dict[tuple[object, ...], list[ClientId]] = defaultdict(list)
    for client in clients:
        has = parts.clients.amounts.get(client, NONE)
        groups[id(parts.clients.own_of(client).worker), bool(has.train), bool(has.validation), bool(has.test)].append(client)
    found: dict[ClientId, ClientId] = {}
    for members in groups.values():
        found |= _nearest(parts, members, most=max(1, KEPT * len(members) // len(clients)))
    return {client: found[client] for client in clients}


def notes_on(clients: int) -> list[str]:
    """Return what is to be said of an estimate of so many clients."""
    if clients <= KEPT:
        return []
    return [
        f"examples of about {KEPT} of {clients:,} clients were looked at; operations and memory of the others follow from how much they have"
    ]


def _nearest(parts: Parts, members: list[ClientId], *, most: int) -> dict[ClientId, ClientId]:
    """Return, for each member of a group, the one of at most `most` + 1 that has the nearest number of training tokens."""
    has = {client: parts.clients.amounts.get(client, NONE) for client in members}
    order = sorted(members, key=lambda client: (has[client].tokens, client))
    places = set(np.linspace(0, len(order) - 1, most).round().astype(int).tolist())
    places.add(max(range(len(order)), key=lambda place: has[order[place]].longest))
    seen = [order[place] for place in sorted(places)]
    tokens = [has[client].tokens for client in seen]
    found = {}
    for client in order:
        after = min(bisect_left(tokens, has[client].tokens), len(seen) - 1)
        near = seen[max(0, after - 1) : after + 1]
        found[client] = min(near, key=lambda other: abs(has[other].tokens - has[client].tokens))
    return found | {client: client for client in seen}
