"""The gate: what may leave a client, and in which form."""

from .codec import decode, encode
from .gate import Encoded, Gate
from .length import length_of, usual_facts
from .manifest import FactSpec, Manifest, MessageSpec, Reveals, TensorSpec, Trains, specs_of

__all__ = [
    "Encoded",
    "FactSpec",
    "Gate",
    "Manifest",
    "MessageSpec",
    "Reveals",
    "TensorSpec",
    "Trains",
    "decode",
    "encode",
    "length_of",
    "specs_of",
    "usual_facts",
]
