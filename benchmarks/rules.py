"""Rules of aggregation beside each other, each at the learning rate that is best for it on validation examples.

Usage: rules.py JOB --data FOLDER --out FOLDER [--rules NAME ...] [--rates 1e-2 3e-2] [--sgd-rates 0.3 1] [--seeds 0 1 2]. FOLDER
holds train, test and, if there is one, validation.parquet; where there is none, 500 training examples are set aside, and no run trains
on them. A rate is tried in one run of half the job's rounds, with a seed that the table does not use; where the largest or the least
is the best, one about three times beyond is tried too, and so on. The same command continues with what is
missing. Writes OUT/rules.csv (a row a rule) and
OUT/cells.csv, and prints the table.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fedtailor import Job
from fedtailor.studies.grid import make_grid
from fedtailor.studies.sweep import run_sweep

SGD = ["protocol.local.optimizer=sgd"]
RULES: dict[str, list[str]] = {  # name: settings
    "fedavg": [],
    "fedprox-0.01": ["protocol.local.proximal=0.01"],
    "fedavg-sgd": SGD,
    "scaffold": [*SGD, "protocol.aggregation=scaffold"],
    **{
        rule: [f"protocol.aggregation={rule}"]
        for rule in ("fedavgm", "fedadam", "fedyogi", "fedadagrad", "ffa-lora", "rolora", "lora-fair", "fedrot-lora", "fedsvd", "flexlora", "flora", "fedex-lora", "raflora")
    },
    **{  # the default step of an adaptive server, 0.01 a value and round, is short for ten rounds
        f"{rule}-0.1": [f"protocol.aggregation={{kind: {rule}, server_learning_rate: 0.1}}"]
        for rule in ("fedavgm", "fedadam", "fedyogi", "fedadagrad")
    },
    "fed-sb": ["tuning={kind: fed-sb, rank: 64, alpha: 64}"],
}  # fmt: skip
RATE = "protocol.local.learning_rate"
TRIAL_SEED = 100
SET_ASIDE = 500
MOST_RATES = 5


def main() -> None:
    """Choose a rate for every rule, run every rule with every seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--rates", nargs="+", default=["1e-2", "3e-2"])
    parser.add_argument("--sgd-rates", nargs="+", default=["0.3", "1.0"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    files = find_files(args.data.resolve(), args.out)
    cells = []
    for rule in args.rules:
        rates = args.sgd_rates if SGD[0] in RULES[rule] else args.rates
        rate = best_rate(args.job, args.out / "rates" / rule, RULES[rule], files, rates)
        seeds = ",".join(map(str, args.seeds))
        settings = [*RULES[rule], f"{RATE}={rate}", f"seed={seeds}", f"data.train={files['train']}", f"data.test={files['test']}"]
        table = sweep(args.job, settings, args.out / "runs" / rule)
        cells.append(table.assign(rule=rule, rate=float(rate)))
        print(rule, rate, table[["loss", *(n for n in ("accuracy", "bleu") if n in table)]].round(4).to_dict("list"), flush=True)
        write_tables(pd.concat(cells), args.out)
    print((args.out / "rules.csv").read_text())


def find_files(data: Path, out: Path) -> dict[str, Path]:
    """Return the files of the three parts; where `data` has no validation file, one is cut from the training examples into `out`."""
    files = {part: data / f"{part}.parquet" for part in ("train", "validation", "test")}
    if not files["validation"].is_file():
        out.mkdir(parents=True, exist_ok=True)
        rows = pd.read_parquet(files["train"]).sample(frac=1.0, random_state=0)
        files |= {part: (out / f"{part}.parquet").resolve() for part in ("train", "validation")}
        rows[:SET_ASIDE].to_parquet(files["validation"], index=False)
        rows[SET_ASIDE:].to_parquet(files["train"], index=False)
    return files


def best_rate(job: Path, folder: Path, rule: Sequence[str], files: dict[str, Path], rates: Sequence[str]) -> str:
    """Return the rate with the least validation loss after half the rounds; a best one at the edge leads to the next beyond it."""
    rounds = max(1, Job.load(job).stop.rounds // 2)
    losses: dict[str, float] = {}
    tried = sorted(rates, key=float)
    while len(losses) < len(tried):
        settings = [*rule, f"{RATE}={','.join(tried)}", f"seed={TRIAL_SEED}", f"stop.rounds={rounds}"]
        table = sweep(job, [*settings, f"data.train={files['train']}", f"data.validation={files['validation']}"], folder)
        found = table["loss"].tolist() if "loss" in table else [float("nan")] * len(tried)
        losses = dict(zip(tried, found, strict=True))  # a run that failed is NaN, and not chosen
        best = str(pd.Series(losses).idxmin())
        if len(tried) < MOST_RATES:
            beyond = {tried[-1]: [next_rate(best, 3.2)], tried[0]: [next_rate(best, 1 / 3)]}.get(best, [])
            tried = sorted([*tried, *beyond], key=float)
    print(folder.name, "validation loss by rate:", {rate: round(loss, 4) for rate, loss in losses.items()}, flush=True)
    return best


def next_rate(rate: str, factor: float) -> str:
    """Return a rate of one digit that is `factor` times another: 3e-2 after 1e-2, 1e-1 after 3e-2."""
    mantissa, power = f"{factor * float(rate):.0e}".split("e")
    return f"{mantissa}e{int(power)}"


def sweep(job: Path, settings: Sequence[str], folder: Path) -> pd.DataFrame:
    """Return the table of a sweep; what is done already is not run again."""
    axes, cells = make_grid(job, settings)
    return run_sweep(axes, cells, folder).table


def write_tables(cells: pd.DataFrame, out: Path) -> None:
    """Write a row a run, and a row a rule: mean and sample standard deviation over seeds, and how many runs failed."""
    cells.to_csv(out / "cells.csv", index=False)
    figures = [name for name in ("loss", "accuracy", "bleu", "up_bytes") if name in cells]
    groups = cells.groupby("rule", sort=False)
    table = groups[figures].agg(["mean", "std"])
    table.columns = [f"{name}_{kind}" for name, kind in table.columns]
    table.insert(0, "rate", groups["rate"].first())
    table["n"], table["failed"] = groups["loss"].count(), groups["status"].apply(lambda status: int((status == "failed").sum()))
    table.to_csv(out / "rules.csv")


if __name__ == "__main__":
    main()
