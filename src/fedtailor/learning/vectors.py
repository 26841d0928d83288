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
    """Embeds with one model; what the backbone alone gives is computed once for each list of texts.

    By list and not by text: what stands beside a text in a batch changes the last digits of its vector, and which texts are known already hangs on what
    this process did before. So a resumed run has the vectors of an unbroken one, and a client of a network those of a simulation.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._frozen: dict[tuple[str, ...], Tensor] = {}

    def trained(self, batch: Batch) -> Tensor:
        """Return vectors of length 1, float32 [B, H], with the weights in place; gradients reach them."""
        hidden_BLH = self._model(input_ids=batch.input_ids_BL, attention_mask=batch.attention_mask_BL).last_hidden_state
        return F.normalize(mean_over_tokens(hidden_BLH, batch.attention_mask_BL), dim=-1)

    def frozen(self, texts: Sequence[str]) -> Tensor:
        """Return vectors of length 1, float32 [N, H], as the backbone gives them below what is trained.

        Raises:
            SettingError: if the tuning changes the backbone itself.
        """
        key = tuple(texts)
        if key not in self._frozen:
            self._frozen[key] = self._embedded(list(dict.fromkeys(key)), key)
        return self._frozen[key]

    def _embedded(self, fresh: Sequence[str], texts: Sequence[str]) -> Tensor:
        if not hasattr(self._model, "disable_adapter"):
            raise SettingError(
                "task: retrieval keeps the vectors of passages as the backbone gives them, and this tuning changes the backbone itself; choose tuning: lora"
            )
        was_training = self._model.training
        self._model.eval()
        with self._model.disable_adapter(), torch.autocast(self._model.device.type, enabled=False):
            found = embed_with(self._model, self._tokenizer, fresh, most_tokens=most_tokens_of(self._model))
        self._model.train(was_training)
        vector = dict(zip(fresh, found, strict=True))
        # a copy in torch's own memory: products of what lies otherwise may differ in a last digit
        return torch.tensor(np.stack([vector[text] for text in texts]), device=self._model.device)
