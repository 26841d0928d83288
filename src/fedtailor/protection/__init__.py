"""What may leave a client, and what happens to it before it does."""

from collections.abc import Mapping

from .codec import Codec
from .dp import Dp
from .gate import Encoded, Gate, make_gate
from .needs import needs_of
from .secure import SecureAggregation

PROTECTIONS: Mapping[str, type] = {"dp": Dp, "codec": Codec, "secure-aggregation": SecureAggregation}

__all__ = [
    "PROTECTIONS",
    "Codec",
    "Dp",
    "Encoded",
    "Gate",
    "SecureAggregation",
    "make_gate",
    "needs_of",
]
