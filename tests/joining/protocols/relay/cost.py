"""What a leg costs a client, estimated."""

from ...messages import Call
from .messages import Leg, Run


def lengths(call: Call) -> tuple[int, int]:
    """Return the bytes of what one client sends and gets."""
    return call.length(Run), call.length_of(Leg(version=10, rate_factor=1.0))
