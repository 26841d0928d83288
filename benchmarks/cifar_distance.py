"""How far pictures of runs are from real ones of CIFAR-10, by the 512 features of the classifier in the package cifar-10-model 7.4.0.

The Keras file is read with h5py and held against its hash. Called cifar_fd, never FID: the features are others. Pictures are compared at one
number, since the distance is biased. `--real` is a Parquet file of the test pictures that runs are to be like.

    python benchmarks/cifar_distance.py cnn_model.h5 --real new-test.parquet --labels 5,6,7,8,9 --runs runs/a runs/b --count 500
"""

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from fedtailor.export import open_run
from fedtailor.metrics.pictures import cover, frechet_distance, kernel_distance
from fedtailor.pictures import picture_of
from fedtailor.tasks.images.samples import Sampling, make_pictures

SHA256 = "0eddc60b9fcbcab498ff07c8430a94ef1d0ee5ac04ad2d0c75d4977cc25cf9e9"


class Classifier(nn.Module):
    """The network of the file: six convolutions, each with ReLU and then its normalization, and three dense layers."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        import h5py

        if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
            raise SystemExit(f"{path} is not the file of cifar-10-model 7.4.0")
        with h5py.File(path) as file:
            held: dict[str, Tensor] = {}
            file["model_weights"].visititems(
                lambda name, item: held.update({name: torch.tensor(np.array(item))}) if hasattr(item, "shape") else None
            )
        self.held = {name.split("/", 1)[1].removesuffix(":0"): value for name, value in held.items()}

    def features(self, pixels_BCHW: Tensor) -> Tensor:
        """Return [B, 512] of pictures from 0 to 255."""
        x = pixels_BCHW
        for number in range(6):
            end = f"_{number}" if number else ""
            kernel, bias = self.held[f"conv2d{end}/kernel"].permute(3, 2, 0, 1), self.held[f"conv2d{end}/bias"]
            x = torch.nn.functional.conv2d(x, kernel, bias).relu()
            norm = [self.held[f"batch_normalization{end}/{part}"] for part in ("moving_mean", "moving_variance", "gamma", "beta")]
            x = torch.nn.functional.batch_norm(x, *norm, eps=1e-3)
            if number in (1, 3):
                x = torch.nn.functional.max_pool2d(x, 2)
        x = x.permute(0, 2, 3, 1).flatten(1)
        for name in ("dense", "dense_1"):
            x = (x @ self.held[f"{name}/kernel"] + self.held[f"{name}/bias"]).relu()
        return x

    def labels(self, features_BD: Tensor) -> Tensor:
        """Return the likeliest class of each."""
        return (features_BD @ self.held["dense_2/kernel"] + self.held["dense_2/bias"]).relu().argmax(-1)


def features_of(classifier: Classifier, pictures: Any) -> Tensor:
    """Return the features of pictures, uint8 [N, H, W, C]."""
    pixels = torch.from_numpy(np.asarray(pictures)).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        return torch.cat([classifier.features(part) for part in pixels.split(125)])


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
    classifier = Classifier(args.classifier)
    rows = pd.read_parquet(args.real)
    real = features_of(classifier, [picture_of(value).pixels() for value in rows["image"]])
    right = float((classifier.labels(real) == torch.tensor(rows["label"].to_numpy(copy=True)).long()).float().mean())
    print(f"real pictures: {len(real)}, accuracy of the classifier {right:.3f}")
    draw = np.random.default_rng(0).permutation(len(real))
    halves = real[draw[: args.count]].numpy(), real[draw[args.count : 2 * args.count]].numpy()
    wanted = [int(label) for label in args.labels.split(",")]
    asked = [wanted[number % len(wanted)] for number in range(args.count)]

    def show(name: str, found: Tensor, *, labelled: bool = True) -> None:
        near = cover(halves[0], found.numpy())
        hit = float((classifier.labels(found) == torch.tensor(asked)).float().mean()) if labelled else float("nan")
        print(
            f"| {name} | {frechet_distance(real.numpy(), found.numpy()):.1f} | {kernel_distance(real.numpy(), found.numpy()):.3f} | {near.precision:.2f} | "
            f"{near.recall:.2f} | {near.coverage:.2f} | {hit:.3f} |",
            flush=True,
        )

    print("| run | cifar_fd | kernel distance | precision | recall | coverage | label accuracy |\n|---|---|---|---|---|---|---|")
    show("real pictures", torch.from_numpy(halves[1]), labelled=False)
    for number, run in enumerate(args.runs):
        done = open_run(run)
        how = Sampling(seed=args.seed)
        if number == 0:
            with done.untuned() as model:
                show("no adaptation", features_of(classifier, make_pictures(model, done.backbone.processor, asked, how)))
        show(run.name, features_of(classifier, make_pictures(done.model, done.backbone.processor, asked, how)))


if __name__ == "__main__":
    main()
