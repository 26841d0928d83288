"""Updates and shared tensors for tests of aggregation rules."""

from dataclasses import replace

import torch

from fedtailor.interfaces import traits_of
from fedtailor.records import Update

MODULES = ("model.layers.0.q_proj", "model.layers.1.q_proj")
OUT, IN = 7, 5
SCALE = 2.0  # alpha / rank
RANKS = (4, 1, 2, 2, 3, 1, 4, 2)  # of eight clients


def a_of(module):
    return f"{module}.lora_A.weight"


def b_of(module):
    return f"{module}.lora_B.weight"


def update(delta, weight=1.0, client="a", **other):
    """Return an update of tensors given as numbers or nested lists."""
    tensors = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in delta.items()}
    return Update(client=client, version=0, delta=tensors, weight=weight, **other)


def pair(b, a, module="m"):
    """Return the factors of one module, B [out, r] and A [r, in], as named tensors."""
    values = {a_of(module): torch.tensor(a, dtype=torch.float32), b_of(module): torch.tensor(b, dtype=torch.float32)}
    return dict(sorted(values.items()))


def room(params, carry, module="m"):
    """Return the tensors with carried factors of zeros beside those of one module."""
    out, inner = params[b_of(module)].shape[0], params[a_of(module)].shape[1]
    carried = {f"{module}.carried_A.weight": torch.zeros(carry, inner), f"{module}.carried_B.weight": torch.zeros(out, carry)}
    return dict(sorted({**params, **carried}.items()))


def no_room(params):
    """Return the tensors without what is carried beside them."""
    return {name: value for name, value in params.items() if ".carried_" not in name}


def random_params(rank=2, seed=0, scale=1.0, carry=0):
    """Return two modules' factors and a head in bfloat16, sorted by name, and carried factors of the rank `carry` beside them."""
    draw = torch.Generator().manual_seed(seed)
    tensors = {"classifier.weight": torch.randn(3, IN, generator=draw).bfloat16()}
    for module in MODULES:
        tensors[a_of(module)] = scale * torch.randn(rank, IN, generator=draw)
        tensors[b_of(module)] = scale * torch.randn(OUT, rank, generator=draw)
        if carry:
            tensors[f"{module}.carried_A.weight"] = torch.randn(carry, IN, generator=draw)
            tensors[f"{module}.carried_B.weight"] = torch.randn(OUT, carry, generator=draw) / carry
    return dict(sorted(tensors.items()))


def random_updates(params, clients, *, seed=1, equal=False, trains=lambda name: True, size=0.5, scale=SCALE, ranks=None):
    """Return one update per client of what `trains` names; weights are 1 or whole numbers that differ, and so are `ranks` if given."""

    def shape(name, tensor, k):
        if ranks is None or "lora_" not in name:
            return tensor.shape
        return (ranks[k], IN) if name.endswith("lora_A.weight") else (OUT, ranks[k])

    draw = torch.Generator().manual_seed(seed)
    return [
        Update(
            client=f"client-{k}",
            version=0,
            delta={name: size * torch.randn(shape(name, t, k), generator=draw) for name, t in params.items() if trains(name)},
            weight=1.0 if equal else float(1 + 3 * k),
            extra={},
            scale=dict.fromkeys(MODULES, scale),
        )
        for k in range(clients)
    ]


def dense(factors, module):
    """Return B A of one module in float64, and what is carried beside it in the same units: it counts with scale 1, the product with SCALE."""
    product = factors[b_of(module)].double() @ factors[a_of(module)].double()
    if f"{module}.carried_A.weight" in factors:
        product += factors[f"{module}.carried_B.weight"].double() @ factors[f"{module}.carried_A.weight"].double() / SCALE
    return product


def trained(params, one):
    """Return a client's trained tensors: what it received, the first rows and columns if its rank is lower, plus what it sent."""
    return {
        name: value[: one.delta[name].shape[0], : one.delta[name].shape[1]] + one.delta[name] if name in one.delta else value
        for name, value in params.items()
    }


def ideal(params, updates, module):
    """Return dW* = sum p B A by the dense formula, in float64 (alpha / r is the same for all and left out)."""
    total = sum(one.weight for one in updates)
    return sum(one.weight / total * dense(trained(params, one), module) for one in updates)


def params_for(rule, **settings):
    """Return random shared tensors, with room for what the rule carries: more than the 5 that any of these matrices can have."""
    return random_params(carry=6 if traits_of(rule).carry else 0, **settings)


def updates_for(rule, params, clients, *, round=1, **settings):
    """Return random updates of what the rule trains in `round`, with what must travel beside them."""
    updates = random_updates(params, clients, trains=rule.trains(round), **settings)
    if traits_of(rule).control:
        updates = [replace(one, extra=dict(one.delta)) for one in updates]
    return updates


def dense_rule(rule, params, updates, module):
    """Return what a rule's paper says, from dense matrices; a client of a lower rank has zeros for the rest."""
    if rule.kind == "flora":
        return ideal(params, updates, module)
    mean = ideal(params, updates, module)
    if rule.kind == "raflora":
        mean = torch.zeros_like(mean)
        bounds = sorted({one.delta[a_of(module)].shape[0] for one in updates})
        for low, high in zip([0, *bounds[:-1]], bounds, strict=True):
            owners = [one for one in updates if one.delta[a_of(module)].shape[0] >= high]
            total = sum(one.weight for one in owners)
            for one in owners:
                b = params[b_of(module)][:, low:high] + one.delta[b_of(module)][:, low:high]
                a = params[a_of(module)][low:high] + one.delta[a_of(module)][low:high]
                mean += one.weight / total * b.double() @ a.double()
    u, s, vt = torch.linalg.svd(mean, full_matrices=False)
    return u[:, :4] * s[:4] @ vt[:4]
