"""What distillation reaches against how well its public set fits the clients, as the run itself reports it.

Usage: alignment.py JOB --data DATA --out FOLDER [--rows 500] [--seeds 0 1 2] [--settings KEY=VALUE ...]. DATA holds banking77/ and e2e/. Half of
Banking77's training rows are kept apart as a pool of public rows, the same for all seeds; clients have theirs from the other half. Public sets of
--rows rows each: from the pool as it is; of 38 and of 8 of the 77 intents alone; and as it is with 25, 50, 75 and 100 % of the rows replaced by
texts of another kind (descriptions of restaurants), without labels. The set with 50 % is also run with refine: label-statistics. The same
command continues with what is missing. Writes OUT/cells.csv (a row a run), OUT/alignment.csv (a row a setting), and prints this and the rank
correlations of accuracy with the reported fit over all settings that are not refined.
"""

import argparse
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr

from fedtailor.studies.grid import make_grid
from fedtailor.studies.sweep import run_sweep

INTENTS = (38, 8)
REPLACED = (25, 50, 75, 100)  # % of the rows
REFINED = "other-50"
FITS = {"public_fit": "distinguished (AUC)", "labels_unlike": "labels unlike (JSD, bits)"}
FIGURES = ["accuracy", "accuracy_aligned_public", *FITS]


def main() -> None:
    """Make the public sets, run every one with every seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--settings", nargs="+", metavar="KEY=VALUE", default=[])
    args = parser.parse_args()
    bank, home = (args.data / "banking77").resolve(), (args.out / "data").resolve()
    files = write_sets(
        pd.read_parquet(bank / "train.parquet"), pd.read_parquet(args.data / "e2e" / "train.parquet"), args.rows, home
    )
    fixed = [
        f"data.train={home / 'private.parquet'}",
        f"data.test={bank / 'test.parquet'}",
        f"task.labels={bank / 'labels.json'}",
    ]
    seeds = [f"seed={','.join(map(str, args.seeds))}"]
    cells = []
    for name, refine in [*((name, "null") for name in files), (REFINED, "label-statistics")]:
        label = name if refine == "null" else f"{name}-refined"
        settings = [*fixed, *args.settings, f"protocol.public={files[name]}", f"protocol.refine={refine}", *seeds]
        axes, grid = make_grid(args.job, settings)
        table = run_sweep(axes, grid, args.out / "runs" / label).table
        cells.append(table.assign(setting=label))
        print(label, table[[figure for figure in FIGURES if figure in table]].round(3).to_dict("list"), flush=True)
        write_tables(pd.concat(cells), args.out)
    print((args.out / "alignment.csv").read_text())
    for fit, (rank, count) in rank_correlations(pd.read_csv(args.out / "alignment.csv")).items():
        print(f"rank correlation of accuracy with {FITS[fit]}: {rank:+.2f} over {count} settings")


def write_sets(bank: pd.DataFrame, other: pd.DataFrame, rows: int, home: Path) -> dict[str, Path]:
    """Write the private rows and all public sets, and return the files of the latter by name; what is there already stays."""
    private, sets = make_sets(bank, other, rows)
    home.mkdir(parents=True, exist_ok=True)
    files = {name: home / f"{name}.parquet" for name in sets}
    for file, table in ((home / "private.parquet", private), *((files[name], sets[name]) for name in sets)):
        if not file.is_file():
            table.to_parquet(file, index=False)
    return files


def make_sets(bank: pd.DataFrame, other: pd.DataFrame, rows: int) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Return the private rows, and public sets of `rows` rows each (fewer where so few intents have not as many) by name."""
    mixed = bank.drop_duplicates("text").sample(frac=1.0, random_state=0)
    private, pool = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
    pool = pool.astype({"label": "Int64"})  # may be absent
    strange = pd.DataFrame({"text": other["target"].drop_duplicates().sample(rows, random_state=0), "label": pd.NA}).astype(
        {"label": "Int64"}
    )
    order = pd.Series(sorted(bank["label"].unique())).sample(frac=1.0, random_state=0).tolist()
    whole = pool[:rows]
    sets = {"as-is": whole} | {f"intents-{count}": pool[pool["label"].isin(order[:count])][:rows] for count in INTENTS}
    for share in REPLACED:
        replaced = rows * share // 100
        sets[f"other-{share}"] = pd.concat([whole[: len(whole) - replaced], strange[:replaced]], ignore_index=True)
    return private, sets


def rank_correlations(means: pd.DataFrame) -> dict[str, tuple[float, int]]:
    """Return for each measure of fit Spearman's rank correlation with accuracy, and over how many settings that know both."""
    found = {}
    for fit in FITS:
        known = means[~means["setting"].str.endswith("-refined")].dropna(subset=["accuracy", fit]) if fit in means else means[:0]
        if len(known) > 2:
            found[fit] = (float(spearmanr(known["accuracy"], known[fit]).statistic), len(known))
    return found


def write_tables(cells: pd.DataFrame, out: Path) -> None:
    """Write a row a run, and a row a setting: mean and sample standard deviation over seeds."""
    cells.to_csv(out / "cells.csv", index=False)
    figures = [name for name in FIGURES if name in cells]
    groups = cells.groupby("setting", sort=False)
    table = groups[figures].mean()
    for name in figures:
        table[f"{name}_sd"] = groups[name].std(ddof=1)
    table["n"], table["failed"] = (
        groups["accuracy"].count(),
        groups["status"].apply(lambda status: int((status == "failed").sum())),
    )
    table.to_csv(out / "alignment.csv")


if __name__ == "__main__":
    main()
