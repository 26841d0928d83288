"""Vectors of texts by the model that a worker holds: with the weights under training, or as the backbone alone gives them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SettingError
from ..models import mean_over_tokens
from ..models.embed import embed_with, most_tokens_of
from ..tasks.shard import Batch


class Vectors:
    """Embeds with one model; what the backbone alone gives is computed once for each text."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._frozen: dict[str, np.ndarray] = {}

    def trained(self, batch: Batch) -> Tensor:
        """Return vectors of length 1, float32 [B, H], with the weights in place; gradients reach them."""
        hidden_BLH = self._model(input_ids=batch.input_ids_BL, attention_mask=batch.attention_mask_BL).last_hidden_state
        return F.normalize(mean_over_tokens(hidden_BLH, batch.attention_mask_BL), dim=-1)

    def frozen(self, texts: Sequence[str]) -> Tensor:
        """Return vectors of length 1, float32 [N, H], as the backbone gives them below what is trained.

        Raises:
            SettingError: if the tuning changes the backbone itself.
        """
        if fresh := [text for text in dict.fromkeys(texts) if text not in self._frozen]:
            if not hasattr(self._model, "disable_adapter"):
                raise SettingError(
                    "task: retrieval keeps the vectors of passages as the backbone gives them, and this tuning changes the backbone itself; choose tuning: lora"
                )
            was_training = self._model.training
            self._model.eval()
            with self._model.disable_adapter(), torch.autocast(self._model.device.type, enabled=False):
                found = embed_with(self._model, self._tokenizer, fresh, most_tokens=most_tokens_of(self._model))
            self._model.train(was_training)
            self._frozen.update(zip(fresh, found, strict=True))
        return torch.from_numpy(np.stack([self._frozen[text] for text in texts])).to(self._model.device)
