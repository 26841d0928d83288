"""How long messages will be, before there are any."""

from collections.abc import Mapping

import torch

from ..records import Fact, Message
from .codec import encode
from .specs import FactSpec, TensorSpec
from .stream import Stream

USUAL: Mapping[str, Fact] = {"int": 1000, "float": 0.12345678901234567}  # numbers of usual length


def length_of(kind: str, tensors: Mapping[str, TensorSpec], facts: Mapping[str, Fact]) -> int:
    """Return the bytes of an encoded message with these facts and tensors of these forms; no tensor is made.

    Args:
        tensors: forms whose sizes are all numbers.
    """
    if not tensors:
        return len(encode(Message(kind=kind, facts=facts)))
    forms = {
        name: torch.empty([int(size) for size in spec.shape], dtype=getattr(torch, spec.dtype), device="meta")
        for name, spec in tensors.items()
    }
    return len(Stream(Message(kind=kind, tensors=forms, facts=facts)))


def usual_facts(specs: Mapping[str, FactSpec]) -> dict[str, Fact]:
    """Return a number of usual length for each fact that is one number."""
    return {name: USUAL[spec.type] for name, spec in specs.items() if spec.type in USUAL}
