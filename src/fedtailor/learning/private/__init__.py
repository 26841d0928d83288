"""DP-SGD: local training after which what a client sends says almost nothing of any one example, or person."""

from .settings import DpSgd, UnitColumn

__all__ = ["DpSgd", "UnitColumn"]
