"""Factors of convolutions as the matrices that they are, so that whoever works on factors need not know of pictures."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...tensors import Tensors

HELD = ".parametrizations.weight.original"  # what torch calls the weight below a parametrization


class Kernel(nn.Module):
    """Shows a matrix [out, in · height · width] as the kernel [out, in, height, width] that a convolution needs."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self._shape = tuple(shape)

    def forward(self, matrix: Tensor) -> Tensor:
        """Return the kernel; it shares the matrix's memory."""
        return matrix.reshape(self._shape)

    def right_inverse(self, kernel: Tensor) -> Tensor:
        """Return the matrix."""
        return kernel.reshape(len(kernel), -1)


def flatten_factors(model: nn.Module, adapter: str) -> None:
    """Let the factors of an adapter beside convolutions be held as matrices: A [r, in · height · width], B [out, r]."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and name.endswith((f"lora_A.{adapter}", f"lora_B.{adapter}")):
            parametrize.register_parametrization(module, "weight", Kernel(module.weight.shape))


def plain_name(name: str) -> str:
    """Return the name of a parameter as if it were not held as a matrix."""
    return name.replace(HELD, ".weight")


def as_kernels(model: nn.Module) -> dict[str, Tensor] | None:
    """Return a model's state with kernels in the place of matrices, as PEFT's files have them; None if it holds none as a matrix."""
    state: dict[str, Tensor] = model.state_dict()
    if not any(HELD in name for name in state):
        return None
    modules = dict(model.named_modules())
    return {
        plain_name(name): modules[name.removesuffix(HELD)].weight.detach() if name.endswith(HELD) else value
        for name, value in state.items()
    }


def as_matrices(found: Mapping[str, Tensor], wanted: Tensors) -> dict[str, Tensor]:
    """Return the tensors of a file with matrices in the place of kernels wherever a matrix is wanted."""
    return {
        name: value.flatten(1) if name in wanted and value.ndim == 4 and wanted[name].ndim == 2 else value
        for name, value in found.items()
    }
