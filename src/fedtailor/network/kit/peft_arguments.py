"""Which arguments of PEFT's methods a site takes from the network: none that PEFT, or what it calls, would import or open.

PEFT imports the module that `megatron_core` names, loads the files in `corda_config` and `lora_ga_config`, and the model in `shadow_model`.
A new version may do so with further ones, so what passes is listed here: numbers, and the texts and lists whose use is known.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

MODULE = re.compile(r"[^\x00-\x1f/]{1,500}")  # a name, or a pattern of names, which is compared with those of the model's modules
NAMES = frozenset({"target_modules", "exclude_modules", "feedforward_modules", "layers_pattern", "target_parameters"})
BY_MODULE = frozenset({
    "rank_pattern", "alpha_pattern", "lambda_pattern", "block_size_pattern", "n_frequency_pattern", "target_svd_config", "trainable_token_indices",
})  # fmt: skip
LISTS = frozenset(
    {"layers_to_transform", "layer_replication", "trainable_token_indices", "token_indices", "alora_invocation_tokens"}
)
NEVER = re.compile(r"megatron_.*|shadow_model|.*_config")  # whatever their value
START = (
    r"gaussian|kaiming_uniform|xavier_uniform|orthogonal|olora|pissa|pissa_niter_\d{1,4}|mica|lycoris|bat|mini|uniform|true|false"
)
PART = r"lora|vector|constant|none"
WORDS = {  # argument -> the words that it takes
    "bias": r"none|all|[a-z0-9]+_only",
    "init_lora_weights": START,
    "init_weights": START,
    "decomposition_method": r"relu|qr",
    "config_A_B": PART,
    "config_C": PART,
    "config_D_E": PART,
    "act_fn": r"relu|gelu|silu|tanh|sigmoid",
    "ab_svd_init": r"psoft_init|pissa_init",
    "psoft_svd": r"full|lowrank",
    "variant": r"road_[124]",
    "mask_type": r"random",
    "wavelet_family": r"[a-z]+\d{0,2}(\.\d)?",
}


def argument_refusals(job: Mapping[str, Any]) -> list[str]:
    """Return why arguments of PEFT's methods in a job are not taken here, a sentence for each; empty if they are.

    Args:
        job: all its settings as plain values.
    """
    return [
        f"the job sets {name} of PEFT's {method} to {str(value)[:60]!r}, and no argument that could name a module or a file is taken from the network; "
        "leave it out"
        for method, arguments in _methods(job)
        for name, value in arguments.items()
        if not _is_harmless(str(name), value)
    ]


def _methods(value: object) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield PEFT's name of each method and its arguments, however deep."""
    if isinstance(value, Mapping) and isinstance(arguments := value.get("arguments"), Mapping):
        yield str(value.get("type"))[:60], arguments
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for inner in inside:
        yield from _methods(inner)


def _is_harmless(name: str, value: object) -> bool:
    if name in BY_MODULE and isinstance(value, Mapping):
        return all(_is_module(key) and _is_numbers(numbers) for key, numbers in value.items())
    if name in LISTS and isinstance(value, list | tuple):
        return _is_numbers(value)
    if name in NAMES and not _is_number(value):
        return all(map(_is_module, value if isinstance(value, list | tuple) else (value,)))
    if isinstance(value, str):
        return name in WORDS and re.fullmatch(WORDS[name], value) is not None
    return _is_number(value) and (name in BY_MODULE or not NEVER.fullmatch(name))


def _is_module(value: object) -> bool:
    return isinstance(value, str) and MODULE.fullmatch(value) is not None


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float)


def _is_numbers(value: object) -> bool:
    """Return whether this is a number, or numbers in lists."""
    return all(map(_is_numbers, value)) if isinstance(value, list | tuple) else _is_number(value)
