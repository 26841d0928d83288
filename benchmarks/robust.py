"""What hostile clients do to each rule: a softmax layer on MiniLM's vectors of Banking77, 20 clients of which 4 attack.

20 clients of 250 rows take 3 SGD steps on all their rows, 40 rounds; data are dealt at random or by Dirichlet 0.3 over labels. Attacks: the negative of the
honest update, ten times that, A Little Is Enough (arXiv:1902.06156), inner product manipulation at 0.5 (arXiv:1903.03936), and honest training on reversed labels.
The mean, and all that is printed, is the accuracy on the whole test set after round 40. Without an attack rules are set as with one.

Usage: robust.py --data DATA [--seeds 0 1 2] [--rounds 40]. DATA holds banking77/. About 45 minutes on one core.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from frozen_features import vectors
from timing import write
from torch import Tensor

from fedtailor.aggregation import FedAvg
from fedtailor.aggregation.robust import GeometricMedian, Krum, Median, MultiKrum, NormClip, TrimmedMean
from fedtailor.aggregation.robust.bucketing import Bucketing
from fedtailor.interfaces import Aggregation
from fedtailor.records import Update

CLIENTS, ROWS, HOSTILE, STEPS, RATE = 20, 250, 4, 3, 32.0
RULES = {
    "fedavg": FedAvg(),
    "median": Median(),
    "trimmed-mean 0.2": TrimmedMean(share=0.2),
    "krum 4": Krum(hostile=4),
    "multi-krum 4": MultiKrum(hostile=4),
    "geometric-median": GeometricMedian(),
    "norm-clip median": NormClip(),
    "bucketing 2, geometric-median": Bucketing(size=2, rule=GeometricMedian()),
    "bucketing 2, median": Bucketing(size=2, rule=Median()),
}
Attack = Callable[[Tensor], Tensor]  # of the honest updates [K, D] -> what a hostile client sends [D]
ATTACKS: Mapping[str, Attack | None] = {
    "none": None,
    "sign": lambda honest: -honest.mean(0),
    "scale -10": lambda honest: -10 * honest.mean(0),
    "alie": lambda honest: honest.mean(0) - _alie_z() * honest.std(0),
    "ipm 0.5": lambda honest: -0.5 * honest.mean(0),
    "labels": None,  # trained honestly, on reversed labels
}


def main() -> None:
    """Run every rule under every attack, and write the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--rules", nargs="+", default=list(RULES))
    args = parser.parse_args()
    train, test = (pd.read_parquet(args.data / "banking77" / f"{part}.parquet") for part in ("train", "test"))
    known, asked = (torch.from_numpy(_unit(vectors(part["text"].tolist())["mean"])) for part in (train, test))
    labels, answers = (torch.tensor(part["label"].to_numpy()).long() for part in (train, test))
    found: dict[str, dict[str, list[float]]] = {}
    for dealt in ("iid", "dirichlet 0.3"):
        for name in args.rules:
            for attack in ATTACKS:
                scores = []
                for seed in args.seeds:
                    rows = _deal(labels.numpy(), dealt, seed)
                    scores.append(
                        _accuracy(known[rows], labels[rows], asked, answers, rule=RULES[name], attack=attack, rounds=args.rounds)
                    )
                found.setdefault(f"{dealt}, {name}", {})[attack] = scores
                print(
                    dealt, name, attack, *(f"{score:.3f}" for score in scores), f"mean {statistics.mean(scores):.3f}", flush=True
                )
    write("robust", {"seeds": args.seeds, "rounds": args.rounds, "accuracy": found})


def _accuracy(
    x_KNH: Tensor, y_KN: Tensor, asked: Tensor, answers: Tensor, *, rule: Aggregation, attack: str, rounds: int
) -> float:
    """Return the test accuracy after the rounds; the first HOSTILE clients attack."""
    classes = int(answers.max()) + 1
    targets = y_KN.clone()
    if attack == "labels":
        targets[:HOSTILE] = classes - 1 - targets[:HOSTILE]
    sends = ATTACKS[attack]
    shared = {"bias": torch.zeros(classes), "weight": torch.zeros(classes, x_KNH.shape[2])}
    state = rule.init(shared)
    one_hot = torch.nn.functional.one_hot(targets, classes).float()
    for _ in range(rounds):
        sent_KD = _trained(x_KNH, one_hot, shared)
        if sends is not None:
            sent_KD[:HOSTILE] = sends(sent_KD[HOSTILE:])
        updates = [
            Update(
                client=f"c{k:02}", version=0, weight=1.0, delta={"bias": row[:classes], "weight": row[classes:].view(classes, -1)}
            )
            for k, row in enumerate(sent_KD)
        ]
        outcome = rule.combine(updates, shared, state)
        shared, state = dict(outcome.shared), outcome.state
    return float(((asked @ shared["weight"].T + shared["bias"]).argmax(1) == answers).float().mean())


def _trained(x_KNH: Tensor, one_hot: Tensor, shared: Mapping[str, Tensor]) -> Tensor:
    """Return every client's update [K, D] of STEPS full steps: bias first, then the rows of the weight."""
    count, rows, _ = x_KNH.shape
    weight = shared["weight"].expand(count, -1, -1).clone()
    bias = shared["bias"].expand(count, 1, -1).clone()
    for _ in range(STEPS):
        error = (torch.baddbmm(bias, x_KNH, weight.transpose(1, 2)).softmax(2) - one_hot) / rows
        weight -= RATE * error.transpose(1, 2) @ x_KNH
        bias -= RATE * error.sum(1, keepdim=True)
    return torch.cat([(bias - shared["bias"]).flatten(1), (weight - shared["weight"]).flatten(1)], 1)


def _deal(labels: np.ndarray, dealt: str, seed: int) -> np.ndarray:
    """Return the rows of each client [K, N], none twice where they last."""
    draw = np.random.default_rng(seed)
    if dealt == "iid":
        return draw.permutation(len(labels))[: CLIENTS * ROWS].reshape(CLIENTS, ROWS)
    pools = [draw.permutation(np.flatnonzero(labels == label)).tolist() for label in range(labels.max() + 1)]
    rows = []
    for _ in range(CLIENTS):
        mine: list[int] = []
        shares = draw.dirichlet(np.full(len(pools), 0.3))
        while len(mine) < ROWS:
            left = np.array([share if pool else 0.0 for share, pool in zip(shares, pools, strict=True)])
            left = left if left.sum() else np.array([float(bool(pool)) for pool in pools])
            mine.append(pools[draw.choice(len(pools), p=left / left.sum())].pop())
        rows.append(mine)
    return np.array(rows)


def _alie_z() -> float:
    """Return how many standard deviations the attackers may be off and still have enough honest clients on their side."""
    needed = CLIENTS // 2 + 1 - HOSTILE
    honest = CLIENTS - HOSTILE
    return statistics.NormalDist().inv_cdf((honest - needed) / honest)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
