"""What may leave a client, and what happens to it before it does."""

from .gate import Encoded, Gate, make_gate

__all__ = ["Encoded", "Gate", "make_gate"]
