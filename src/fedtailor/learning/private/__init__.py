"""DP-SGD: local training in which no example, or no person, can be told from what a client sends."""

from .settings import DpSgd, UnitColumn

__all__ = ["DpSgd", "UnitColumn"]
