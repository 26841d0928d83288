"""Where more stops to help: the knee of a sweep over ranks or local epochs, with the drift of the clients beside it.

Usage: knee.py FOLDER... --along tuning.rank [--metric loss]. Each folder is one of `fedtailor sweep`, and holds all seeds of its cells.
Prints a row for each value (mean and standard deviation of the metric over seeds; drift, cosine and bias: means over rounds and
clients, then over seeds), the least value within one standard deviation of the best, and for every value a paired t-test over seeds
against the best one.
"""

import argparse
from pathlib import Path

import pandas as pd
from scipy.stats import ttest_rel


def main() -> None:
    """Read the sweeps and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--along", required=True)
    parser.add_argument("--metric", default="loss")
    args = parser.parse_args()
    cells = pd.concat([pd.read_parquet(folder / "table.parquet") for folder in args.folders], ignore_index=True)
    cells = pd.concat([cells, cells["folder"].apply(lambda folder: apart(Path(folder)))], axis=1)
    wide = cells.pivot(index="seed", columns=args.along, values=args.metric)
    print(table_of(cells, wide, args.along).to_string())
    least = wide.mean().idxmin()
    print(f"best {args.along}: {least}; the least within one standard deviation of it: {knee(wide)}")


def apart(folder: Path) -> pd.Series:
    """Return how far the clients of a run pulled apart: means over rounds and clients."""
    clients, rounds = (pd.read_parquet(folder / f"{name}.parquet") for name in ("clients", "rounds"))
    figures = {"drift": clients["drift"].mean(), "cosine": clients["cosine"].mean(), "steps": clients["steps"].sum()}
    return pd.Series(figures | ({"bias": rounds["bias"].mean()} if "bias" in rounds else {}))


def knee(wide: pd.DataFrame) -> object:
    """Return the first column whose mean is at most the best mean plus the best column's standard deviation.

    Args:
        wide: a row a seed, a column a value in rising order; lower is better.
    """
    means = wide.mean()
    within = means <= means.min() + wide[means.idxmin()].std(ddof=1)
    return within.idxmax()


def table_of(cells: pd.DataFrame, wide: pd.DataFrame, along: str) -> pd.DataFrame:
    """Return a row for each value: mean and deviation, mean difference from the best value by seed, its p, and how far clients pull apart."""
    best = wide[wide.mean().idxmin()]
    rows = {}
    for value in wide.columns:
        gap = wide[value] - best
        p = float("nan") if value == best.name else float(ttest_rel(wide[value], best).pvalue)
        rows[value] = {"mean": wide[value].mean(), "sd": wide[value].std(ddof=1), "n": wide[value].count()} | {
            "above_best": gap.mean(), "above_best_sd": gap.std(ddof=1), "p": p,
        }  # fmt: skip
    far = cells.groupby(along)[[name for name in ("drift", "cosine", "bias", "steps") if name in cells]].mean()
    return pd.DataFrame(rows).T.join(far)


if __name__ == "__main__":
    main()
