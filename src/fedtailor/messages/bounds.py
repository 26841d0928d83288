"""Whether facts and values keep to the bounds that their specs declare, and how long a message may be at most."""

import math

import torch
from torch import Tensor

from ..errors import NotFinite, OffManifest, TooLarge
from ..records import Fact
from ..tensors import pieces
from .specs import FactSpec

WORD = 2**63  # whole numbers from -WORD to WORD - 1 go into 64 bits
NUMBER_CHARACTERS = 26  # that JSON needs for one number at most, and for the comma behind it
ESCAPED = 6  # characters that JSON needs for one of a text at most: \\u0000
KINDS: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str}


def check_fact(value: Fact, spec: FactSpec, where: str) -> None:
    """Raise OffManifest unless a fact has the type of its spec and keeps to its bounds."""
    one = KINDS[spec.type.removeprefix("list[").removesuffix("]")]
    values = value if isinstance(value, list) else [value]
    if isinstance(value, list) != spec.type.startswith("list") or not all(
        isinstance(v, one) and not isinstance(v, bool) for v in values
    ):
        raise OffManifest(f"{where} is {type(value).__name__}, the manifest has {spec.type}")
    if isinstance(value, list) and len(value) > spec.most_items:
        raise OffManifest(f"{where} has {len(value)} items; the manifest allows {spec.most_items}")
    if sum(len(v) for v in values if isinstance(v, str)) > spec.most_characters:
        raise OffManifest(f"{where} has more than the {spec.most_characters} characters that the manifest allows")
    least = -WORD if spec.least is None else spec.least
    most = WORD - 1 if spec.most is None else spec.most
    for number in values:
        if not isinstance(number, str) and not (least <= number <= most and -WORD <= number < WORD):
            raise OffManifest(f"{where} is {shown(number)}, the manifest allows from {least:g} to {most:g}")


def check_values(tensor: Tensor, most: float, where: str) -> None:
    """Raise NotFinite if a value is NaN or infinite, and TooLarge if one is larger than `most`; whole numbers are of any size."""
    if not tensor.is_floating_point():
        return
    for piece in pieces(tensor):
        if not piece.numel():
            continue
        least, largest = (float(side) for side in torch.aminmax(piece))
        if not (math.isfinite(least) and math.isfinite(largest)):
            raise NotFinite(f"{where} holds NaN or infinity; try a smaller learning rate or gradient clipping")
        if max(-least, largest) > most:
            raise TooLarge(
                f"{where} holds {max(-least, largest):g}, the manifest allows {most:g}: did training diverge? Try a smaller learning rate"
            )


def fact_characters(name: str, spec: FactSpec) -> int:
    """Return how many characters a fact takes at most in the header of a message."""
    items = spec.most_items if spec.type.startswith("list") else 1
    texts = ESCAPED * spec.most_characters + (3 * items if spec.type == "list[str]" else 0)
    return ESCAPED * len(name) + 8 + texts + NUMBER_CHARACTERS * items


def shown(number: float) -> str:
    """Return a number as text of bounded length: a whole number may have thousands of digits."""
    if isinstance(number, int) and not -WORD <= number < WORD:
        return f"a whole number of {number.bit_length()} bits"
    return repr(number)
