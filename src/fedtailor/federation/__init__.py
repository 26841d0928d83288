"""How messages reach clients."""

from .local import ClientHalf, LocalFederation

__all__ = ["ClientHalf", "LocalFederation"]
