"""Corrections to the gradients of local training."""

from collections.abc import Mapping

from torch import Tensor, nn

from ..tensors import Tensors, map_tensors, subtract
from .work import Correction


def proximal(received: Mapping[str, Tensor], mu: float) -> Correction:
    """Return the correction g + mu (w - received), which draws the weights back to where they started.

    Source: Li et al., 2020, arXiv:1812.06127, FedProx: the gradient of the penalty mu / 2 |w - received|^2. The paper solves the
    penalized problem to a chosen inexactness; here it takes part in the usual local steps, whatever the optimizer.

    Args:
        received: the weights that training starts from, which are copied; a weight that is not among them is not drawn, a name not under training ignored.
        mu: at least 0; 0.001 to 1 are usual.
    """
    start = {name: value.detach().clone() for name, value in received.items()}

    def correct(params: dict[str, nn.Parameter]) -> None:
        for name, param in params.items():
            if param.grad is not None and name in start:
                param.grad.add_(param.detach() - start[name], alpha=mu)

    return correct


def controlled(server: Tensors, own: Tensors) -> Correction:
    """Return the correction g - own + server, which takes the client's own drift out of its gradients.

    Source: Karimireddy et al., 2020, arXiv:1910.06378, SCAFFOLD, algorithm 1, line 10.
    """

    shift = subtract(server, own)

    def correct(params: dict[str, nn.Parameter]) -> None:
        for name, param in params.items():
            if param.grad is not None:
                shift[name] = shift[name].to(param)  # to its device, once
                param.grad.add_(shift[name])

    return correct


def next_control(server: Tensors, own: Tensors, delta: Tensors, rates: float) -> dict[str, Tensor]:
    """Return the client's next control variate, own - server - delta / rates.

    Source: as `controlled`, line 12, option II: c_k - c + (x - y_k) / (K eta). Here `delta` is y_k - x, and `rates`, the sum of the learning
    rates of all steps, stands for K eta, so that warm-up and schedules are accounted for.
    """
    if rates == 0:  # a schedule has come to its end: nothing moved, so nothing was learned of the client's drift
        return dict(own)
    return map_tensors(lambda c, c_k, d: c_k - c - d / rates, server, own, delta)
