"""Loads a backbone's tokenizer: fast, with a token to pad with, tried out on a short text."""

from pathlib import Path
from typing import Any

from ..errors import BackboneError
from .faults import is_ours, tokenizer_fault
from .info import chat_template, tool_template
from .quiet import quiet_transformers

FILES = ("tokenizer*", "vocab*", "merges.txt", "*.model")  # of which a tokenizer has at least one
TRIAL = ["a b c", "Ein Satz, 2 Zahlen."]
MOST_TOKENS = 200  # of the trial's texts; more is padding that tokenizer.json asks for


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a folder.

    Raises:
        BackboneError: naming the file at fault, if there is none, or it cannot be loaded or used.
    """
    from transformers import AutoTokenizer

    if not any(path for pattern in FILES for path in folder.glob(pattern)):  # transformers would make an empty one
        raise BackboneError(
            f"{folder} has no tokenizer: it needs tokenizer.json and tokenizer_config.json; of a run with tuning: full, take the folder that "
            "fedtailor export RUN --to merged writes"
        )
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True, trust_remote_code=False)
            _check_fast(tokenizer, folder)
            _try_out(tokenizer, folder)
    except BaseException as fault:  # a panic of tokenizers is no Exception
        if is_ours(fault):
            raise
        raise tokenizer_fault(fault, folder) from fault
    return tokenizer


def _check_fast(tokenizer: Any, folder: Path) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise BackboneError(f"the tokenizer of {folder} knows no character offsets; it needs a tokenizer.json (a fast tokenizer)")
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token or tokenizer.unk_token
    if tokenizer.pad_token_id is None:
        raise BackboneError(f"the tokenizer of {folder} has no pad, end or unknown token to pad with; give it a pad_token")
    vars(tokenizer)["fedtailor_tool_template"] = tool_template(tokenizer)  # before the default takes the place of all
    tokenizer.chat_template = chat_template(tokenizer)


def _try_out(tokenizer: Any, folder: Path) -> None:
    rows = tokenizer(TRIAL, return_offsets_mapping=True)["input_ids"]
    longest = max(map(len, rows))
    if longest > MOST_TOKENS or not all(isinstance(token, int) for row in rows for token in row):
        raise BackboneError(
            f"the tokenizer of {folder} makes {longest} tokens of {TRIAL[-1]!r}; look at padding and truncation in its tokenizer.json, or get it again "
            "from where the backbone came"
        )
    tokenizer.decode(rows[0])
