"""How far each rule's product is from the mean of the clients' products, on random factors, beside the bias that the rule tells.

    PYTHONPATH=tests python benchmarks/exactness.py

2 to 8 clients, equal and unequal weights, 5 draws, first and second round; and for the rules that take them, updates of unequal ranks
against the dense formula. Shares its draws with tests/aggregation, which hold the bounds.
"""

import itertools

import torch
from updates import MODULES, RANKS, dense, dense_rule, ideal, params_for, updates_for

from fedtailor.aggregation import AGGREGATIONS
from fedtailor.interfaces import traits_of

CASES = list(itertools.product(range(2, 9), (True, False), range(5)))  # clients, equal weights, draw
MOVED = ("fedadam", "fedyogi", "fedadagrad")  # they tell the bias of the mean, from which they then go on


def apart(got: torch.Tensor, want: torch.Tensor) -> float:
    return float(torch.linalg.norm(got - want) / torch.linalg.norm(want))


def main() -> None:
    print(f"{'rule':12} {'off the mean of products':>26} {'of the bias told':>18} {'unequal ranks, off the dense formula':>38}")
    for kind, cls in AGGREGATIONS.items():
        rule, off, told, unequal = cls(), [], [], []
        for (clients, equal, seed), round in itertools.product(CASES, (1, 2)):
            params = params_for(rule)
            updates = updates_for(rule, params, clients, round=round, equal=equal, seed=seed)
            outcome = rule.combine(updates, params, rule.init(params))
            products = torch.stack([dense(outcome.shared, module) for module in MODULES])
            off.append(apart(products, torch.stack([ideal(params, updates, module) for module in MODULES])))
            if off[-1] > 1e-4 and kind not in MOVED:
                told.append(abs(outcome.figures["bias"] / off[-1] - 1))
        for clients, equal, seed in CASES if traits_of(rule).any_ranks else ():
            params = params_for(rule, rank=4)
            updates = updates_for(rule, params, clients, equal=equal, seed=seed, ranks=RANKS)
            shared = rule.combine(updates, params, rule.init(params)).shared
            unequal += [apart(dense(shared, module), dense_rule(rule, params, updates, module)) for module in MODULES]
        worst = [f"{max(each):.1e}" if each else "" for each in (told, unequal)]
        print(f"{kind:12} {min(off):>14.1e} to {max(off):.1e} {worst[0]:>18} {worst[1]:>38}")


if __name__ == "__main__":
    main()
