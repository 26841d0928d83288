"""Distances between sets of features: by hand, and by the formulas as they are written."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from fedtailor.metrics.pictures import collapsed, cover, frechet_distance, kernel_distance, nearest

DRAW = np.random.default_rng(0)
REAL, MADE = DRAW.normal(size=(60, 5)) @ DRAW.normal(size=(5, 5)), DRAW.normal(size=(50, 5)) + 0.5


def test_one_feature_by_hand():
    # means 2 and 5, standard deviations 1 and 2 (with n - 1): 3^2 + (1 - 2)^2
    assert frechet_distance(np.array([[1.0], [2], [3]]), np.array([[3.0], [5], [7]])) == pytest.approx(10)


def test_frechet_is_the_formula():
    one, other = np.cov(REAL, rowvar=False), np.cov(MADE, rowvar=False)
    between = REAL.mean(0) - MADE.mean(0)
    wanted = between @ between + np.trace(one + other - 2 * sqrtm(one @ other).real)
    assert frechet_distance(REAL, MADE) == pytest.approx(wanted, rel=1e-6)
    assert frechet_distance(REAL, REAL) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(REAL[:4], MADE[:4]) > 0  # fewer pictures than features: the covariances are singular


def test_kernel_distance_is_the_mean_over_pairs():
    def k(x, y):
        return (x @ y / 5 + 1) ** 3

    def among(features):
        pairs = [(i, j) for i in range(len(features)) for j in range(len(features)) if i != j]
        return sum(k(features[i], features[j]) for i, j in pairs) / len(pairs)

    across = sum(k(x, y) for x in REAL[:9] for y in MADE[:8]) / 72
    assert kernel_distance(REAL[:9], MADE[:8]) == pytest.approx(among(REAL[:9]) + among(MADE[:8]) - 2 * across)


def test_cover_by_hand():
    # on a line, nearest neighbour: each real one reaches 1, of the made ones 0 and 0.5 reach 0.5, 9 reaches 8.5
    found = cover(np.array([[0.0], [1], [2], [3]]), np.array([[0.0], [0.5], [9]]), neighbours=1)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == 1  # 9 reaches all down to 0.5, and 0 is reached by 0
    assert found.coverage == pytest.approx(2 / 4)  # 0 and 1; 2 and 3 have none within 1


def test_the_same_few_pictures_are_a_collapse():
    real = DRAW.normal(size=(3, 200, 8))
    few = np.repeat(real[2][:10], 20, axis=0) + 1e-3 * DRAW.normal(size=(200, 8))
    assert collapsed(real[:2], few)
    assert not collapsed(real[:2], real[2])
    assert not collapsed(real[:2], real[2] * 0.8)


class Given(torch.nn.Module):
    """Stands for a network: a picture is its features already, written as bytes."""

    num_features = 5

    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Parameter(torch.from_numpy(np.random.default_rng(1).normal(size=(12, 5))).float() / 255)

    def forward(self, pixels):
        return pixels.flatten(1).float() @ self.mix


def test_distances_are_those_of_torchmetrics():
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    draw, network = torch.Generator().manual_seed(0), Given()
    real = torch.randint(0, 256, (80, 3, 2, 2), generator=draw, dtype=torch.uint8)
    made = torch.randint(60, 200, (50, 3, 2, 2), generator=draw, dtype=torch.uint8)
    features = [network(pixels).detach().numpy() for pixels in (real, made)]
    for theirs, ours in (
        (FrechetInceptionDistance(feature=network, input_img_size=(3, 2, 2)), frechet_distance(*features)),
        (KernelInceptionDistance(feature=network, subsets=1, subset_size=50), kernel_distance(features[0][:50], features[1])),
    ):
        given = real[:50] if isinstance(theirs, KernelInceptionDistance) else real
        theirs.update(given, real=True)
        theirs.update(made, real=False)
        found = theirs.compute()
        wanted = found[0] if isinstance(found, tuple) else found
        assert ours == pytest.approx(wanted.item(), abs=1e-3)


def test_nearest_by_hand():
    assert nearest(np.array([[0.0, 0], [3, 4]]), np.array([[0.0, 1], [0, 0], [3, 3]])).tolist() == [0, 1]
