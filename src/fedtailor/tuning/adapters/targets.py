"""Which modules of a model low-rank factors go beside."""

import difflib
from collections.abc import Sequence

from torch import nn

from ...errors import SettingError

# what families of models call the projections to query and value, apart or in one; the first that all are there is taken
ATTENTION = (
    ("q_proj", "v_proj"),  # Llama, Mistral, Qwen, Gemma, SmolLM, OPT, BART, ...
    ("query", "value"),  # BERT, RoBERTa, ELECTRA
    ("query_proj", "value_proj"),  # DeBERTa-v2
    ("q_lin", "v_lin"),  # DistilBERT
    ("c_attn",),  # GPT-2
    ("query_key_value",),  # GPT-NeoX, BLOOM, Falcon
    ("qkv_proj",),  # Phi-3
    ("Wqkv",),  # MPT, ModernBERT
    ("q", "v"),  # T5
)


def attention_targets(model: nn.Module) -> tuple[str, ...]:
    """Return the last parts of the names of the query and value projections, or of the one that holds them.

    Raises:
        SettingError: if the model is of no known family.
    """
    names = linear_names(model)
    for wanted in ATTENTION:
        if set(wanted) <= names:
            return wanted
    raise SettingError(
        f"targets cannot be found by architecture in a {type(model).__name__}; name some of its linear modules: "
        f"{', '.join(sorted(names)[:12]) or 'it has none'}"
    )


def check_targets(model: nn.Module, targets: Sequence[str]) -> list[str]:
    """Return the targets as a list after checking that each fits the name of a linear module.

    Raises:
        SettingError: naming the target, and the nearest name that is there.
    """
    full = {name for name, module in model.named_modules() if _is_linear(module)}
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in full):
            names = linear_names(model)
            near = difflib.get_close_matches(target, names, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise SettingError(
                f"targets names {target!r}, but a {type(model).__name__} has no such linear module; {hint}"
                f"it has {', '.join(sorted(names)[:12])}"
            )
    return list(targets)


def linear_names(model: nn.Module) -> set[str]:
    """Return the last parts of the names of all linear modules but the output head."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    return {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if _is_linear(m) and m is not head}


def _is_linear(module: nn.Module) -> bool:
    # GPT-2's Conv1D is a transposed linear layer; bitsandbytes' layers are subclasses of nn.Linear
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
