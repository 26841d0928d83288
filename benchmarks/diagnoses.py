"""Whether diagnoses find what was provoked and nothing in healthy runs, with thresholds set on one half and counted on the other.

Usage: diagnoses.py --out FOLDER [--seeds 6]. Tiny jobs (benchmarks/provoking.py): 13 that provoke a signature of the papers each and 16 healthy
ones, every one with six seeds; the backbones have 30,000 weights, data 48 to 192 examples, runs 1 to 12 rounds. Estimated at 6 minutes of one
processor. The same command continues with what is missing. Writes OUT/figures.csv (a row for each run and signature: the threshold at which
the finding just appears, and whether it appears at the default) and OUT/counted.csv, and prints the latter.

The first half of the seeds sets thresholds, with every second healthy job; the rest is counted. One threshold of each signature is set, the others keep their
defaults: midway between the largest value of a healthy run of that half (0 if none would show it at any threshold) and the smallest of a
provoked one, where they are apart; where they are not, it stays as it is. `out-of-memory` has none: it reads events.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from provoking import HEALTHY, PROVOKING, Case, make_backbones

from fedtailor.diagnoses import COMPARISONS, SIGNATURES, with_thresholds
from fedtailor.diagnoses.evidence import Evidence
from fedtailor.report import Run


@dataclass(frozen=True)
class Decisive:
    """The threshold of a signature that is set here."""

    name: str
    most: float  # between 0 and which it is looked for
    below: bool = False  # it fires below the threshold, not above
    alone: dict[str, float] | None = None  # thresholds of other ways to fire, put out of reach


DECISIVE = {
    "sparse-clients": Decisive("worse", 100),
    "seeds-differ": Decisive("spread", 100),
    "stalls-early": Decisive("rise", 10, alone={"clipped": 2}),
    "unstable-rounds": Decisive("rise", 10),
    "personal-worse": Decisive("mean", 10, alone={"clients": 2}),
    "collapsed-texts": Decisive("distinct", 1.01, below=True, alone={"empty": 2, "pairs": -1}),
    "plateau": Decisive("taken", 10),
    "unequal-ranks": Decisive("bias", 10),
    "public-set": Decisive("apart", 1, alone={"labels": 2}),
    "large-logits": Decisive("times", 10000),
    "quantized-activations": Decisive("error", 10),
    "slow-exchange": Decisive("share", 1),
}
EVERY: dict[str, Any] = {each.name: each for each in (*SIGNATURES, *COMPARISONS)}
OF_PAPERS = [*DECISIVE, "out-of-memory"]


@dataclass(frozen=True)
class Subject:
    """What one signature judges: a run, or runs that are compared."""

    case: str
    provokes: str
    seed: int  # the first of several
    sets: bool  # of the half that sets thresholds
    runs: Sequence[Evidence]


def main() -> None:
    """Run all jobs, judge them, set thresholds on one half and count on the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=6)
    args = parser.parse_args()
    make_backbones(args.out / "backbones")
    done = {}
    for seed in range(args.seeds):
        for name, case in {**PROVOKING, **HEALTHY}.items():
            done[name, seed] = carried_out(case, args.out, name, seed)
            print(f"seed {seed}: {name}", flush=True)
    figures = judged(done, args.seeds)
    figures.to_csv(args.out / "figures.csv", index=False)
    table = counted(figures)
    table.to_csv(args.out / "counted.csv", index=False)
    print(table.round(3).to_string(index=False))
    alarms = figures[(figures["provokes"] == "") & figures["default"]]
    print("healthy runs with a finding at the defaults:", alarms[["case", "seed", "signature"]].to_dict("records") or "none")


def carried_out(case: Case, out: Path, name: str, seed: int) -> list[Run]:
    """Return the runs of a case."""
    return case.carry_out(out / "backbones", seed, out / "runs" / name.replace(" ", "-").replace(",", "") / str(seed))


def judged(done: dict[tuple[str, int], list[Run]], seeds: int) -> pd.DataFrame:
    """Return a row for each signature of the papers and all that it can judge."""
    rows = []
    for signature in OF_PAPERS:
        for subject in subjects(signature, done, seeds):
            judge = judge_of(signature, subject.runs)
            if judge is None:
                continue
            rows.append(
                {
                    "case": subject.case,
                    "provokes": subject.provokes,
                    "seed": subject.seed,
                    "sets": subject.sets,
                    "signature": signature,
                    "value": value_of(signature, judge),
                    "default": judge(EVERY[signature]),
                    "judge": judge,
                }
            )
    found = pd.DataFrame(rows)
    chosen = {signature: threshold(found, signature) for signature in DECISIVE}
    found["threshold"] = found["signature"].map(chosen)
    changed = with_thresholds([f"{name}.{DECISIVE[name].name}={value}" for name, value in chosen.items()])
    now = {each.name: each for each in (*changed[0], *changed[1])}
    found["set"] = [judge(now[name]) for judge, name in zip(found["judge"], found["signature"], strict=True)]
    return found.drop(columns="judge")


def subjects(signature: str, done: dict[tuple[str, int], list[Run]], seeds: int) -> Iterator[Subject]:
    """Yield each run; for signatures that compare, the runs of a case that differ in one setting, or a half's seeds."""
    setting = range(seeds // 2)
    for number, (case, of) in enumerate({**PROVOKING, **HEALTHY}.items()):
        may_set = bool(of.provokes) or (number - len(PROVOKING)) % 2 == 0
        first = {seed: [Evidence(run) for run in done[case, seed]] for seed in range(seeds)}
        if signature == "seeds-differ":
            for half in (setting, range(seeds // 2, seeds)):
                yield Subject(case, of.provokes, half[0], may_set and half == setting, [first[seed][0] for seed in half])
            continue
        for seed, runs in first.items():
            sets = may_set and seed in setting
            together = [runs] if signature == "sparse-clients" else [[run] for run in runs]
            yield from (Subject(case, of.provokes, seed, sets, each) for each in together)


def judge_of(signature: str, runs: Sequence[Evidence]) -> Callable[[Any], bool] | None:
    """Return what says whether a signature, with any thresholds, is found in some runs; None if it does not apply to them."""
    usual = EVERY[signature]
    if usual in COMPARISONS:
        groups = usual.groups(runs)
        return (lambda of: any(of.judge(group) is not None for group in groups)) if groups else None
    (run,) = runs
    if not usual.applies(run) or run.missing(usual.needs):
        return None
    return lambda of: of.judge(run) is not None


def value_of(signature: str, judge: Callable[[Any], bool]) -> float | None:
    """Return the threshold at which a finding just appears; None if it does at none, or the signature has none."""
    if signature not in DECISIVE:
        return None
    of = DECISIVE[signature]
    usual = replace(EVERY[signature], **(of.alone or {}))
    shows, hides = (of.most, 0.0) if of.below else (0.0, of.most)
    if not judge(replace(usual, **{of.name: shows})):
        return None
    for _ in range(24):
        middle = (shows + hides) / 2
        shows, hides = (middle, hides) if judge(replace(usual, **{of.name: middle})) else (shows, middle)
    return shows


def threshold(found: pd.DataFrame, signature: str) -> float:
    """Return the threshold that the first half sets."""
    of = DECISIVE[signature]
    half = found[found["sets"] & (found["signature"] == signature)]
    provoked = half[half["provokes"] == signature]["value"].dropna()
    healthy = half[half["provokes"] == ""]["value"].dropna()
    least, most = (provoked.max(), healthy.min()) if of.below else (provoked.min(), healthy.max())
    usual = float(getattr(EVERY[signature], of.name))
    if provoked.empty:
        return usual
    if healthy.empty:
        most = of.most if of.below else 0.0
    return (least + most) / 2 if (least < most) == of.below else usual


def counted(found: pd.DataFrame) -> pd.DataFrame:
    """Return for each signature its threshold, and how often it was found on the half that is counted, there and in healthy runs."""
    rest = found[~found["sets"]]
    rows = []
    for signature in OF_PAPERS:
        of = rest[rest["signature"] == signature]
        provoked, healthy = of[of["provokes"] == signature], of[of["provokes"] == ""]
        half = found[found["sets"] & (found["signature"] == signature)]
        name = DECISIVE[signature].name if signature in DECISIVE else ""
        ends = {
            "healthy": half[half["provokes"] == ""]["value"],
            "provoked": half[half["provokes"] == signature]["value"],
        }
        rows.append(
            {"signature": signature, "threshold": name, "default": getattr(EVERY[signature], name) if name else None}
            | {"set": half["threshold"].max() if name else None}
            | {f"{kind} {end}": getattr(values, end)() for kind, values in ends.items() for end in ("min", "max")}
            | {f"found, {by}": f"{provoked[by].sum()} of {len(provoked)}" for by in ("default", "set")}
            | {f"false, {by}": f"{healthy[by].sum()} of {len(healthy)}" for by in ("default", "set")}
        )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
