"""SCAFFOLD: averaging, with control variates that take each client's drift out of its gradients.

Source: Karimireddy et al., 2020, arXiv:1910.06378, algorithm 1, option II. Server: x <- x + mean of deltas, c <- c + (1 / N) sum over the asked
clients of the change of c_k, N the number of all clients. Client: see learning/corrections.py.
Differences: the mean of the deltas is weighted by the job's weights (uniform in the paper); the server's learning rate is 1; the division by N
is done by the clients, so that the server only adds. A client whose update is lost on the way has moved its c_k nevertheless.
Control variates are mean gradients only where a step is a learning rate times a gradient: plain SGD.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..interfaces import RuleTraits
from ..records import Outcome, Update
from ..tensors import Tensors, add_scaled_, clone, zeros_like
from .factors.held import mean_and_bias
from .mean import take_step


@dataclass(frozen=True, kw_only=True)
class Scaffold:
    """Average the updates of clients whose gradients are corrected for their drift; needs optimizer: sgd."""

    kind: Literal["scaffold"] = "scaffold"
    traits: ClassVar[RuleTraits] = RuleTraits(linear=True, counts_clients=True, control=True)

    def init(self, params: Tensors) -> Tensors:
        """Return the server's control variate: zeros, named and shaped as `params`."""
        return zeros_like(params)

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return that every tensor is trained in every round."""
        return lambda name: True

    def control(self, state: Tensors) -> Tensors:
        """Return the server's control variate, for the clients."""
        return state

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + the mean delta, and the control variate + the sum of what clients sent beside it.

        Raises:
            EmptyRound: if no client answered.
            ShapeMismatch: if a client sent no change of its control variate.
        """
        control = clone(state)

        def added(update: Update) -> Update:
            add_scaled_(control, update.extra, 1.0)
            return update

        mean, figures = mean_and_bias(map(added, updates), params)
        return Outcome(shared=take_step(params, mean), state=control, figures=figures)
