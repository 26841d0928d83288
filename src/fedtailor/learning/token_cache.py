"""Tokenized parts, kept in the user's cache from one start to the next: they are private data, as what they were made of is.

A part is found by the content of its examples, of the tokenizer and of the task, so whatever changes makes a new one. A damaged entry is ignored and
written again. Small parts are not kept: tokenizing them is quicker than looking.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..records import Example
from ..tasks.shard import Shard, TokenShard
from ..tasks.task import Task
from ..tasks.text.markers import templates_in
from ..user_cache import keep_private, token_folder

LEAST_EXAMPLES = 200
SUFFIX = ".safetensors"
KEPT = "kept"  # which of the given examples a shard holds, in order


@dataclass(frozen=True)
class TokenCache:
    """Keeps what one tokenizer and one task make of examples."""

    salt: str  # hash of all else that tokens depend on

    @classmethod
    def of(cls, task: Task, tokenizer: Any) -> "TokenCache":
        """Return the cache for a task and a tokenizer."""
        state = tokenizer.backend_tokenizer.to_str() if getattr(tokenizer, "is_fast", False) else repr(tokenizer)
        parts = [version(name) for name in ("fedtailor", "tokenizers", "transformers")]
        parts += [repr(task), repr(templates_in(tokenizer)), repr(sorted(map(str, tokenizer.special_tokens_map.items()))), state]
        return cls("\n".join(hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest() for part in parts))

    def shard(self, examples: Sequence[Example], make: Callable[[], Shard], *, keep_examples: bool) -> Shard:
        """Return the kept shard of these examples, else what `make` gives, which is kept then."""
        if len(examples) < LEAST_EXAMPLES:
            return make()
        file = token_folder() / f"{self._key(examples, keep_examples=keep_examples)}{SUFFIX}"
        if (kept := _read(file, examples)) is not None:
            return kept
        made = make()
        if isinstance(made, TokenShard):
            with suppress(OSError):  # a cache that cannot be written costs time at the next start, no more
                _write(file, made, examples)
        return made

    def _key(self, examples: Sequence[Example], *, keep_examples: bool) -> str:
        digest = hashlib.sha256(f"{self.salt}\n{keep_examples}".encode())
        for example in examples:
            digest.update(repr((example.id, sorted(example.fields.items()))).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def _read(file: Path, examples: Sequence[Example]) -> TokenShard | None:
    """Return the shard in a file; None if there is none, or it is damaged."""
    try:
        if not file.is_file():
            return None
        with safe_open(file, framework="pt") as entry:
            about = json.loads((entry.metadata() or {})["about"])
            tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118 - no mapping
        if about.pop("sha256") != _sha256(tensors, about):
            return None
        kept = tensors.pop(KEPT, None)
        os.utime(file)
        dropped = tuple((str(name), str(reason)) for name, reason in about.pop("dropped"))
        held = () if kept is None else tuple(examples[row] for row in kept.tolist())
        return TokenShard(**tensors, **about, dropped=dropped, examples=held)
    except (OSError, ValueError, KeyError, TypeError, IndexError, SafetensorError):
        return None


def _write(file: Path, shard: TokenShard, examples: Sequence[Example]) -> None:
    """Keep a shard, readable for this user alone."""
    own = {field.name: getattr(shard, field.name) for field in fields(shard)}
    tensors = {name: value.contiguous() for name, value in own.items() if isinstance(value, Tensor)}
    about = {name: value for name, value in own.items() if name not in tensors and name != "examples" and value is not None}
    if shard.examples:
        rows = {id(example): row for row, example in enumerate(examples)}
        if not all(id(example) in rows for example in shard.examples):  # made of the given ones, not these themselves
            return
        tensors[KEPT] = torch.tensor([rows[id(example)] for example in shard.examples], dtype=torch.int64)
    about["dropped"] = [list(pair) for pair in shard.dropped]
    text = json.dumps({**about, "sha256": _sha256(tensors, about)})
    keep_private(file, save(tensors, metadata={"about": text}))


def _sha256(tensors: dict[str, Tensor], about: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
