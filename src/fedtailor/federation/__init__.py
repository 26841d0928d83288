"""How messages reach clients."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .local import ClientHalf, LocalFederation

__all__ = ["ClientHalf", "LocalFederation"]


def __getattr__(name: str) -> Any:
    """Load the local engine when it is first asked for: who only asks a network for its status needs no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".local", __name__), name)
