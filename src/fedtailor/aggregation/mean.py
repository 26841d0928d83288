"""The weighted mean of updates, as one running sum."""

from collections.abc import Iterable

from torch import Tensor

from ..errors import EmptyRound, SettingError
from ..tensors import Tensors, add_scaled_, scale, zeros_like


def weighted_mean(pairs: Iterable[tuple[Tensors, float]]) -> dict[str, Tensor]:
    """Return sum(weight * tensors) / sum(weight), in float32.

    Each set is added as it arrives, so that memory holds one sum and one set, however many there are. The order of
    addition is that of the argument: float32 sums do not commute, so callers hand updates over in the order of client ids.

    Raises:
        EmptyRound: if nothing arrived.
        ShapeMismatch: if the sets differ in names.
    """
    total: dict[str, Tensor] | None = None
    weights = 0.0
    for tensors, weight in pairs:
        if not weight > 0:
            raise SettingError(f"the weight of an update must be above 0; got {weight}")
        total = zeros_like(tensors) if total is None else total
        add_scaled_(total, tensors, weight)
        weights += weight
    if total is None:
        raise EmptyRound("no client sent a usable update in this round; see events.jsonl for the reason of each")
    return scale(total, 1 / weights)
