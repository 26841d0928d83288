"""Which weights are trained, and how they are read and written."""

from collections.abc import Mapping

from .adapter import Adapter, load_adapter
from .adapters.over_peft import attach_saved, head_names, notes_of
from .among import LoraAmong, take_part
from .begin import begins_elsewhere, keeps_weights, untrained
from .fed_sb import FedSB
from .frozen import Frozen
from .full import Full
from .head import Head
from .learning_rates import usual_head_learning_rate, usual_learning_rate
from .lora import Lora, as_saved
from .none import Untrained, bytes_tensor, prompt_text, tensor_text
from .peft import PeftMethod
from .prefix import Prefix
from .prompt import Prompt
from .whole import save_whole
from .written import Form, Written, written

TUNINGS: Mapping[str, type] = {
    "lora": Lora,
    "fed-sb": FedSB,
    "full": Full,
    "adapter": Adapter,
    "head": Head,
    "prefix": Prefix,
    "prompt": Prompt,
    "peft": PeftMethod,
}

UNTRAINED: Mapping[str, type] = {"none": Untrained, "frozen": Frozen}  # what no protocol trains with

__all__ = [
    "TUNINGS",
    "UNTRAINED",
    "Adapter",
    "FedSB",
    "Form",
    "Frozen",
    "Full",
    "Head",
    "Lora",
    "LoraAmong",
    "PeftMethod",
    "Prefix",
    "Prompt",
    "Untrained",
    "Written",
    "as_saved",
    "attach_saved",
    "begins_elsewhere",
    "bytes_tensor",
    "head_names",
    "keeps_weights",
    "load_adapter",
    "notes_of",
    "prompt_text",
    "save_whole",
    "take_part",
    "tensor_text",
    "untrained",
    "usual_head_learning_rate",
    "usual_learning_rate",
    "written",
]
