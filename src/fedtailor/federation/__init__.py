"""How messages reach clients."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .failing import Failing
    from .hostile import Hostile, hostile_clients
    from .local import LocalFederation

__all__ = ["Failing", "Hostile", "LocalFederation", "hostile_clients"]

_HOMES = {"Failing": ".failing", "Hostile": ".hostile", "LocalFederation": ".local", "hostile_clients": ".hostile"}


def __getattr__(name: str) -> Any:
    """Load a part when it is first asked for: who only asks a network for its status needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
