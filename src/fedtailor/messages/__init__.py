"""What crosses a client's border: its form, its encoding, its length."""

from .answering import answer, result_of
from .call import Call, manifest_of
from .codec import decode, encode
from .length import length_of, usual_facts
from .manifest import Manifest
from .record import Record, read, write
from .specs import FactSpec, MessageSpec, Own, Reveals, TensorSpec, Trains, specs_of
from .state import state_of, tensors_of

__all__ = [
    "Call",
    "FactSpec",
    "Manifest",
    "MessageSpec",
    "Own",
    "Record",
    "Reveals",
    "TensorSpec",
    "Trains",
    "answer",
    "decode",
    "encode",
    "length_of",
    "manifest_of",
    "read",
    "result_of",
    "specs_of",
    "state_of",
    "tensors_of",
    "usual_facts",
    "write",
]
