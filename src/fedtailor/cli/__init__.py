"""The commands that a person types."""

from .main import main

__all__ = ["main"]
