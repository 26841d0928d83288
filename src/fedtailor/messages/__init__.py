"""What crosses a client's border: its form, its encoding, its length."""

from .codec import decode, encode
from .length import length_of, usual_facts
from .manifest import FactSpec, Manifest, MessageSpec, Reveals, TensorSpec, Trains, specs_of

__all__ = [
    "FactSpec",
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
