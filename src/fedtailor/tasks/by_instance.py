"""What a model carries while its forward pass depends on which examples a batch holds."""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class ByInstance(Protocol):
    """What a model carries as its attribute `by_instance` while its forward pass depends on which examples a batch holds."""

    def begin(self, ids_BL: Tensor, mask_BL: Tensor, input_BL: Tensor) -> None:
        """Look at the examples of the next forward passes: tokens int64, 1 where not padding, and True where a token is input."""

    def keep(self, rows_N: Tensor) -> None:
        """Continue with these rows alone."""


def by_instance(model: nn.Module) -> ByInstance | None:
    """Return what must look at each batch before the model does, if there is anything."""
    found: ByInstance | None = getattr(model, "by_instance", None)
    return found
