"""How alike an input is to a client's own: the share of its own adapter, example by example.

Source: Yang et al., 2024, arXiv:2403.19211, FedDPA, instance-wise dynamic weighting: s = scale * mean over S training inputs x_s of cos(h(x), h(x_s)),
where h is the last layer's hidden state of the last token, found with the client's own adapter alone (so the authors' code, with S 5 and
scale 0.5). The mean of cosines with S vectors is the product of the unit vector of h(x) with the mean of their unit vectors, the centroid.
Differences: the S inputs are drawn once per client, not again for each input; a share below 0 is 0; where texts are classified, h is the
mean over a text's tokens (an option of the authors' code), since the last token means little to an encoder.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import BackboneError
from ...learning.worker import Worker
from ...tasks.shard import Shard, inputs_of
from ...tasks.task import padding_of
from ...tasks.text.generate import evaluating
from ...tuning.adapters.mixture import mixed

# B texts, L tokens, H hidden width


class InstanceShare:
    """The share of an adapter in the output for each text of a batch."""

    def __init__(self, model: nn.Module, second: str, *, centroid_H: Tensor, scale: float, pooled: bool) -> None:
        """Take the model, the name of the client's own adapter, and the mean of the unit vectors of its training inputs.

        Args:
            scale: the share where an input is as the centroid's, in (0, 1].
            pooled: whether a text is the mean of its tokens; else it is its last one.
        """
        self._model, self._second = model, second
        self.centroid_H, self.scale, self.pooled = centroid_H, scale, pooled
        self.share_B: Tensor | float = 1.0  # the own adapter alone, as long as hidden states are looked for

    def __call__(self, module: str, x: Tensor) -> Tensor | float:
        """Return the share for each row of a module's input; beams of one text stand side by side."""
        if isinstance(self.share_B, float):
            return self.share_B
        share_B = self.share_B.repeat_interleave(len(x) // len(self.share_B))
        return share_B.to(x.device).view(-1, *(1,) * (x.dim() - 1))

    def begin(self, ids_BL: Tensor, mask_BL: Tensor, input_BL: Tensor) -> None:
        """Find the share of each text of the next forward passes."""
        self.share_B = 1.0
        unit_BH = units(self._model, ids_BL, mask_BL, input_BL, pooled=self.pooled)
        self.share_B = self.scale * (unit_BH @ self.centroid_H.to(unit_BH.device)).clamp(0, 1)

    def keep(self, rows_N: Tensor) -> None:
        """Continue with these rows alone."""
        assert isinstance(self.share_B, Tensor)
        self.share_B = self.share_B[rows_N.to(self.share_B.device)]

    @contextmanager
    def placed(self) -> Iterator[None]:
        """Let both adapters take part by these shares, inside the block; evaluation and generation then call `begin` on each batch.

        Raises:
            BackboneError: if the model bears no padding, so that texts go through it one by one.
        """
        model: Any = self._model
        if padding_of(model) == "none":
            raise BackboneError(
                f"a {type(model.get_base_model()).__name__} gives a text another result when it is padded, so shares by instance cannot be found "
                "for a batch; set personalization.weight to a number, or choose a backbone like BERT or Llama"
            )
        with mixed(model, self._second, self):
            model.by_instance = self
            try:
                yield
            finally:
                del model.by_instance


def share_of_inputs(
    worker: Worker, second: str, shard: Shard, rows: Sequence[int], *, scale: float, pooled: bool, batch_size: int
) -> InstanceShare:
    """Return the shares of a client whose inputs are those numbered `rows`, and whose own adapter is in place as `second`."""
    model, found = worker.model, []
    with mixed(model, second, lambda module, x: 1.0), torch.inference_mode(), evaluating(model), worker.precision():
        for begin in range(0, len(rows), batch_size):
            inputs = inputs_of(worker.batch(shard, list(rows[begin : begin + batch_size])))
            found.append(units(model, *inputs, pooled=pooled).cpu())
    return InstanceShare(model, second, centroid_H=torch.cat(found).mean(0), scale=scale, pooled=pooled)


def units(model: nn.Module, ids_BL: Tensor, mask_BL: Tensor, input_BL: Tensor, *, pooled: bool) -> Tensor:
    """Return float32 unit vectors [B, H] of the last layer's hidden states of texts; see `InstanceShare` for `pooled`."""
    whole: Any = model
    base = whole.get_base_model()
    body = getattr(base, base.base_model_prefix)
    inputs = {"input_ids": ids_BL, "attention_mask": mask_BL}
    if not pooled and "position_ids" in inspect.signature(body.forward).parameters:
        inputs["position_ids"] = (mask_BL.cumsum(-1) - 1).clamp(min=0)  # as in generation, which pads on the left
    with torch.no_grad():
        hidden_BLH = body(**inputs).last_hidden_state.float()
    if pooled:
        return F.normalize((hidden_BLH * input_BL[..., None]).sum(1), dim=-1)  # a sum points where the mean does
    places_L = torch.arange(ids_BL.shape[1], device=ids_BL.device)
    last_B = (input_BL * places_L).argmax(-1)
    return F.normalize(hidden_BLH[torch.arange(len(ids_BL), device=ids_BL.device), last_B], dim=-1)
