"""Secrets shared among n so that any t give them back, and fewer nothing.

Source: Shamir, 1979, How to Share a Secret: the values at 1 ... n of a polynomial of degree t - 1 over a prime field, whose value at 0 is the secret. The prime
is 2^521 - 1, so that secrets of 32 bytes fit.
"""

import secrets
from collections.abc import Mapping

PRIME = 2**521 - 1
SHARE_BYTES, SECRET_BYTES = 66, 32


def split(secret: bytes, *, threshold: int, count: int) -> list[bytes]:
    """Return the shares of 1 ... count."""
    coefficients = [int.from_bytes(secret, "big"), *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    return [_at(x, coefficients).to_bytes(SHARE_BYTES, "big") for x in range(1, count + 1)]


def combine(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret of at least threshold shares, by the numbers that they were made for.

    Raises:
        ValueError: if they are no shares of one secret of 32 bytes.
    """
    total = 0
    for x, share in shares.items():
        factor = 1
        for other in shares:
            if other != x:
                factor = factor * other * pow(other - x, -1, PRIME) % PRIME
        total += int.from_bytes(share, "big") * factor
    secret = total % PRIME
    if secret.bit_length() > 8 * SECRET_BYTES:
        raise ValueError("shares give no secret of 32 bytes")
    return secret.to_bytes(SECRET_BYTES, "big")


def _at(x: int, coefficients: list[int]) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % PRIME
    return value
