"""Random streams made of (seed, purpose, round, client), so that the order of the work changes nothing."""

import hashlib

import numpy as np


def stream_seed(seed: int, purpose: str, round: int = 0, client: str = "") -> int:
    """Return a 63-bit seed that depends on all four arguments and on nothing else."""
    key = f"{seed}\x1f{purpose}\x1f{round}\x1f{client}".encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1


def stream(seed: int, purpose: str, round: int = 0, client: str = "") -> np.random.Generator:
    """Return a fresh generator for one purpose; the same arguments give the same draws."""
    return np.random.Generator(np.random.PCG64(stream_seed(seed, purpose, round, client)))
