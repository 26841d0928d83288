"""How messages reach clients."""

from .failing import Failing
from .local import ClientHalf, LocalFederation

__all__ = ["ClientHalf", "Failing", "LocalFederation"]
