"""Which weights are trained, and how they are read and written."""

from collections.abc import Mapping

from .adapter import Adapter, load_adapter
from .among import LoraAmong
from .fed_sb import FedSB
from .full import Full
from .learning_rates import usual_learning_rate
from .lora import Lora
from .peft import PeftMethod
from .prefix import Prefix
from .prompt import Prompt

TUNINGS: Mapping[str, type] = {
    "lora": Lora,
    "fed-sb": FedSB,
    "full": Full,
    "adapter": Adapter,
    "prefix": Prefix,
    "prompt": Prompt,
    "peft": PeftMethod,
}

__all__ = ["TUNINGS", "Adapter", "FedSB", "Full", "Lora", "LoraAmong", "PeftMethod", "Prefix", "Prompt", "load_adapter", "usual_learning_rate"]
