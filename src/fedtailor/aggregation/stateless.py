"""What most rules of aggregation share: they keep no state, and train every tensor in every round."""

from collections.abc import Callable

from ..tensors import Tensors
from .factors.lowrank import require_factors


class Stateless:
    """A rule without state, under which everything is trained."""

    def init(self, params: Tensors) -> Tensors:
        """Return nothing: the rule keeps no state."""
        return {}

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return that every tensor is trained in every round."""
        return lambda name: True


class OfFactors(Stateless):
    """Such a rule that means nothing without factors of LoRA."""

    kind: str

    def init(self, params: Tensors) -> Tensors:
        """Return nothing: the rule keeps no state.

        Raises:
            SettingError: if there are no LoRA factors.
        """
        require_factors(params, self.kind)
        return {}
