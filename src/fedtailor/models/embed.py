"""Sentence embeddings by MiniLM, for clients divided by topic."""

import functools
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


def embed_texts(texts: Sequence[str], batch_size: int = 32) -> np.ndarray:
    """Return one vector of length 1 per text, float32 [N, 384]: the mean over tokens of MiniLM's last layer.

    Texts are cut after 256 tokens and batched by length. About 28 passages of 200 words a second on two cores.

    Source: Reimers and Gurevych, 2019, arXiv:1908.10084; the pooling is that of the model's 1_Pooling/config.json.

    Raises:
        BackboneError: if the package of minilm-l6 is not installed.
    """
    model, tokenizer = _minilm()
    ids = [tokenizer(text, truncation=True, max_length=MOST_TOKENS, split_special_tokens=True)["input_ids"] for text in texts]
    order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
    vectors = np.zeros((len(ids), WIDTH), dtype=np.float32)
    for begin in range(0, len(order), batch_size):
        rows = order[begin : begin + batch_size]
        batch = tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt")
        vectors[rows] = _pooled(model, batch["input_ids"], batch["attention_mask"])
    return vectors


@torch.inference_mode()
def _pooled(model: Any, input_ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> np.ndarray:
    hidden_BLH = model(input_ids=input_ids_BL, attention_mask=mask_BL).last_hidden_state
    vectors: np.ndarray = torch.nn.functional.normalize(mean_over_tokens(hidden_BLH, mask_BL), dim=-1).numpy()
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
