"""Customize a model on data in memory, and see what each client gained.

    python examples/own_data.py                        # the packaged model smollm2-135m, a few minutes
    python examples/own_data.py --backbone FOLDER      # or another one

Three shops write about what they sell. None shows its texts to the others; together they teach one model their manner.
"""

import argparse

from fedtailor import Job, run

SHOPS = {"Hill": "at the foot of the hill", "Lake": "by the lake", "Moor": "out on the moor"}
GOODS = ["tea", "milk", "bread", "rice", "salt", "beans", "corn", "plums", "honey", "soap", "candles", "twine", "paper", "ink"]


def rows() -> list[dict[str, str]]:
    """Return what the shops would each keep in a file of their own."""
    return [
        {"input": f"shop[{shop}], sells[{good}]", "target": f"{shop} is the place for {good}, {where}.", "shop": shop}
        for shop, where in SHOPS.items()
        for good in GOODS
    ]


def make_job(backbone: str, rounds: int) -> Job:
    """Return all settings of the run; what is left out has a default."""
    return Job.from_dict(
        {
            "name": "own-data",
            "backbone": backbone,
            "task": {"kind": "generation"},
            "data": {"train": "shops"},  # a name alone: the rows are handed to run
            "clients": {"partition": {"kind": "natural", "by": "shop"}, "min_examples": 4, "test_share": 0.2},
            "tuning": {"kind": "lora", "rank": 8, "alpha": 16},
            "protocol": {"kind": "averaging", "local": {"steps": 10, "batch_size": 4, "learning_rate": 2e-3}},
            "evaluation": {"generate": {"max_new_tokens": 24}},
            "stop": {"rounds": rounds},
        }
    )


def main() -> None:
    """Run the job and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="smollm2-135m")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    result = run(make_job(options.backbone, options.rounds), data=rows())

    before, after = result.summary["metrics"]["before"], result.summary["metrics"]["after"]
    print(f"loss {before['loss']:.3f} before, {after['loss']:.3f} after")
    print(
        f"worst client {result.summary['clients']['before']['worst']['loss']:.3f}, {result.summary['clients']['worst']['loss']:.3f}"
    )
    print(f"sent up {result.summary['traffic']['up_bytes']:,} bytes")
    print(f"everything is in {result.folder}")


if __name__ == "__main__":
    main()
