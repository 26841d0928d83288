"""What may leave a client, and what happens to it before it does."""

from .gate import Encoded, Gate

__all__ = ["Encoded", "Gate"]
