"""How far pictures of runs are from real ones of CIFAR-10, by the 512 features of the classifier in the package cifar-10-model 7.4.0.

For finished runs; `evaluation.metrics: [cifar_fd]` measures it in a run. Called cifar_fd, never FID: the features are others. Pictures are compared at one
number, since the distance is biased. `--real` is a Parquet file of the test pictures that runs are to be like.

    python benchmarks/cifar_distance.py cnn_model.h5 --real new-test.parquet --labels 5,6,7,8,9 --runs runs/a runs/b --count 500
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from fedtailor.export import open_run
from fedtailor.metrics.cifar import CifarFeatures
from fedtailor.metrics.pictures import cover, frechet_distance, kernel_distance
from fedtailor.pictures import picture_of
from fedtailor.tasks.images.samples import make_pictures
from fedtailor.tasks.images.sampling import Sampling


def features_of(network: CifarFeatures, pictures: Any) -> np.ndarray:
    """Return the features of pictures, uint8 [N, H, W, C]."""
    return network.of(torch.from_numpy(np.asarray(pictures)).permute(0, 3, 1, 2).contiguous())


def main() -> None:
    """Print a row for the backbone of the first run, and one for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("classifier", type=Path)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--labels", default="0,1,2,3,4,5,6,7,8,9")
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    classifier = CifarFeatures(path=str(args.classifier)).at(Path())
    rows = pd.read_parquet(args.real)
    real = features_of(classifier, [picture_of(value).pixels() for value in rows["image"]])
    right = float((classifier.classify(real) == rows["label"].to_numpy()).mean())
    print(f"real pictures: {len(real)}, accuracy of the classifier {right:.3f}")
    draw = np.random.default_rng(0).permutation(len(real))
    halves = real[draw[: args.count]], real[draw[args.count : 2 * args.count]]
    wanted = [int(label) for label in args.labels.split(",")]
    asked = [wanted[number % len(wanted)] for number in range(args.count)]

    def show(name: str, found: np.ndarray, *, labelled: bool = True) -> None:
        near = cover(halves[0], found)
        hit = float((classifier.classify(found) == np.array(asked)).mean()) if labelled else float("nan")
        print(
            f"| {name} | {frechet_distance(real, found):.1f} | {kernel_distance(real, found):.3f} | {near.precision:.2f} | "
            f"{near.recall:.2f} | {near.coverage:.2f} | {hit:.3f} |",
            flush=True,
        )

    print("| run | cifar_fd | kernel distance | precision | recall | coverage | label accuracy |\n|---|---|---|---|---|---|---|")
    show("real pictures", halves[1], labelled=False)
    for number, run in enumerate(args.runs):
        done = open_run(run)
        how = Sampling(seed=args.seed)
        if number == 0:
            with done.untuned() as model:
                show("no adaptation", features_of(classifier, make_pictures(model, done.backbone.processor, asked, how)))
        show(run.name, features_of(classifier, make_pictures(done.model, done.backbone.processor, asked, how)))


if __name__ == "__main__":
    main()
