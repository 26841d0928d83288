"""Which weights are trained, and how they are read and written."""

from collections.abc import Mapping

from .lora import Lora

TUNINGS: Mapping[str, type] = {"lora": Lora}

__all__ = ["TUNINGS", "Lora"]
