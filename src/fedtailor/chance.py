"""Random streams made of (seed, purpose, round, client), so that the order of the work changes nothing."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream_seed(seed: int, purpose: str, round: int = 0, client: str = "") -> int:
    """Return a 63-bit seed that depends on all four arguments and on nothing else."""
    key = f"{seed}\x1f{purpose}\x1f{round}\x1f{client}".encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1


def stream(seed: int, purpose: str, round: int = 0, client: str = "") -> np.random.Generator:
    """Return a fresh generator for one purpose; the same arguments give the same draws."""
    return np.random.Generator(np.random.PCG64(stream_seed(seed, purpose, round, client)))


def seed_torch(seed: int, device: "torch.device") -> None:
    """Begin torch's streams again, that of the CPU and that of `device`, with the same draws as after `torch.manual_seed`.

    Without a GPU `torch.manual_seed` keeps a printed stack of its callers for each kind of accelerator, in case one comes into use:
    milliseconds a call, too many for something that is done before each block of a model.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextmanager
def torch_draws(seed: int) -> Iterator[None]:
    """Let torch draw on the CPU from `seed` inside the block; outside, its global stream is as if nothing had been drawn."""
    import torch

    with torch.random.fork_rng(devices=[]):
        seed_torch(seed, torch.device("cpu"))
        yield
