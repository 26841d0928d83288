"""Updates and shared tensors for tests of aggregation rules."""

import torch

from fedtailor.records import Update

MODULES = ("model.layers.0.q_proj", "model.layers.1.q_proj")
OUT, IN = 7, 5


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


def random_params(rank=2, seed=0, scale=1.0):
    """Return two modules' factors and a head in bfloat16, sorted by name."""
    draw = torch.Generator().manual_seed(seed)
    tensors = {"classifier.weight": torch.randn(3, IN, generator=draw).bfloat16()}
    for module in MODULES:
        tensors[a_of(module)] = scale * torch.randn(rank, IN, generator=draw)
        tensors[b_of(module)] = scale * torch.randn(OUT, rank, generator=draw)
    return dict(sorted(tensors.items()))


def random_updates(params, clients, *, seed=1, equal=False, trains=lambda name: True, size=0.5, scale=2.0):
    """Return one update per client of what `trains` names; weights are 1 or whole numbers that differ."""
    draw = torch.Generator().manual_seed(seed)
    return [
        Update(
            client=f"client-{k}",
            version=0,
            delta={name: size * torch.randn(t.shape, generator=draw) for name, t in params.items() if trains(name)},
            weight=1.0 if equal else float(1 + 3 * k),
            extra={},
            scale=dict.fromkeys(MODULES, scale),
        )
        for k in range(clients)
    ]


def dense(factors, module):
    """Return B A of one module in float64."""
    return factors[b_of(module)].double() @ factors[a_of(module)].double()


def trained(params, one):
    """Return a client's trained tensors: what it received plus what it sent."""
    return {name: value + one.delta[name] if name in one.delta else value for name, value in params.items()}


def ideal(params, updates, module):
    """Return dW* = sum p B A by the dense formula, in float64 (alpha / r is the same for all and left out)."""
    total = sum(one.weight for one in updates)
    return sum(one.weight / total * dense(trained(params, one), module) for one in updates)
