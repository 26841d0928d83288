"""How many operations a forward pass of a model of pictures takes: a convolution's weights are used once a pixel, so their number says too little."""

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode


def used_weights(model: nn.Module, *inputs: Tensor) -> int:
    """Return the weights that a pass over `inputs`, of one picture, multiplies by, each counted as often as it is used; nothing is computed but shapes."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), counter:
        model(*(torch.empty_like(given) for given in inputs))
    return counter.get_total_flops() // 2
