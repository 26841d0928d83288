"""A source of random bytes that can be repeated, in the place of the system's: for tests alone."""

import hashlib

from fedtailor.privacy import noise


class Foreseen:
    """Gives the same bytes in the same order each time it is made again."""

    def __init__(self, seed=0):
        self.seed, self.count = seed, 0

    def __call__(self, count):
        self.count += 1
        return hashlib.shake_256(f"{self.seed}/{self.count}".encode()).digest(count)


def foresee(monkeypatch, seed=0):
    """Let all secret draws come from a fresh source that can be repeated."""
    monkeypatch.setattr(noise, "system_bytes", Foreseen(seed))
