"""The mixer: per module and token, how much of the output is the client's own adapter's.

Source: Bian et al., 2025, arXiv:2503.11880, FedALT, of which the abstract alone was at hand: an adaptive mixer learns input-specific weightings of
both LoRAs, after the mixture of experts. Our reading: each LoRA module has a linear router from its input x to one logit for either LoRA, and their
softmax is the weights. Of two logits the difference alone counts, so it is one vector and one number: the own share is sigmoid(g x + b). Both are zero
at first: half and half.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...tensors import Tensors
from ...tuning.adapters.mixture import mixed
from ...tuning.adapters.second import adapter_parameters

VECTOR, NUMBER = ".gate.weight", ".gate.bias"


class Gates:
    """A gate for each module that two adapters go beside."""

    def __init__(self, model: nn.Module, second: str, values: Tensors) -> None:
        """Take the gates' values by name, or zeros for those that are not among them.

        Args:
            model: with both adapters in place.
            second: name of the adapter that is not the client's own.
        """
        self._model, self._second = model, second
        self.parameters: Mapping[str, nn.Parameter] = {
            name: nn.Parameter(values[name].to(like) if name in values else torch.zeros_like(like))
            for name, like in _shapes(model, second).items()
        }

    def __call__(self, module: str, x: Tensor) -> Tensor:
        """Return the share [..., 1] of the adapter that is not the client's own."""
        weight, bias = self.parameters[module + VECTOR], self.parameters[module + NUMBER]
        return torch.sigmoid(-F.linear(x.to(weight.dtype), weight[None], bias))

    @contextmanager
    def placed(self) -> Iterator[None]:
        """Let both adapters take part by these shares, inside the block."""
        with mixed(self._model, self._second, self):
            yield


def _shapes(model: nn.Module, second: str) -> dict[str, Tensor]:
    """Return a tensor like each gate's, by name, sorted."""
    marked = f".{second}_A.weight"
    like: dict[str, Tensor] = {}
    for name, factor in adapter_parameters(model, second).items():
        if name.endswith(marked):
            module = name.removesuffix(marked)
            like |= {module + VECTOR: factor.detach()[0], module + NUMBER: factor.detach()[0, :1]}
    return dict(sorted(like.items()))
