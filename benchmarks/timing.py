"""Ratios of times taken in turn: what noisy, shared machines can still measure."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

OUT = Path(__file__).parent / "out"


def alternate(runs: Mapping[str, Callable[[int], float]], pairs: int) -> dict[str, list[float]]:
    """Call each run once a pair, the order turned round from pair to pair; return the seconds each call gave."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for pair in range(pairs):
        for name in list(runs) if pair % 2 == 0 else reversed(list(runs)):
            seconds[name].append(runs[name](pair))
        print(f"pair {pair + 1} of {pairs}:", {name: round(values[-1], 2) for name, values in seconds.items()}, flush=True)
    return seconds


def ratio(upper: Sequence[float], lower: Sequence[float], draws: int = 10_000) -> dict[str, float]:
    """Return the median of upper / lower over pairs, with its 95 % bootstrap interval (percentile method, seed 0)."""
    ratios = np.asarray(upper) / np.asarray(lower)
    chosen = np.random.default_rng(0).integers(0, len(ratios), (draws, len(ratios)))
    low, high = np.percentile(np.median(ratios[chosen], axis=1), [2.5, 97.5])
    return {"median": statistics.median(ratios.tolist()), "low": float(low), "high": float(high)}


def write(name: str, found: object) -> None:
    """Write what was found to benchmarks/out/NAME.json and print it."""
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
