"""What FedAdagrad, FedAdam and FedYogi share: Reddi et al., 2021, arXiv:2003.00295, algorithm 2.

    m <- beta1 m + (1 - beta1) D          D: the mean of the updates, a pseudo-gradient of opposite sign
    v <- (the one line in which the three differ)
    w <- w + eta m / (sqrt(v) + tau)

Nothing corrects m and v for their start, as torch's Adam does; v starts at tau^2, the least that the algorithm allows.
"""

from collections.abc import Callable, Iterable

from torch import Tensor, full_like

from ..errors import SettingError
from ..records import Outcome, Update
from ..tensors import Tensors, map_tensors, zeros_like
from .factors.held import mean_and_bias
from .mean import take_step

FIRST, SECOND = "m/", "v/"  # state: the moments of each tensor, under its name with these in front
Second = Callable[[Tensor, Tensor], Tensor]  # (v, D^2) -> next v


def check_settings(*, server_learning_rate: float, beta1: float, beta2: float, tau: float) -> None:
    """Raise SettingError, naming the field, unless the settings of an adaptive server are in their ranges."""
    for name, value in {"server_learning_rate": server_learning_rate, "tau": tau}.items():
        if not 0 < value < float("inf"):
            raise SettingError(f"{name} is a number above 0; got {value}; 0.001 to 0.01 are usual")
    for name, value in {"beta1": beta1, "beta2": beta2}.items():
        if not 0 <= value < 1:
            raise SettingError(f"{name} is the share of the last moment that is kept, in [0, 1); got {value}")


def start(params: Tensors, tau: float) -> dict[str, Tensor]:
    """Return m = 0 and v = tau^2 for every tensor, in float32."""
    zeros = zeros_like(params)
    return {f"{FIRST}{name}": zero for name, zero in zeros.items()} | {
        f"{SECOND}{name}": full_like(zero, tau**2) for name, zero in zeros.items()
    }


def adaptive_step(
    updates: Iterable[Update],
    params: Tensors,
    state: Tensors,
    *,
    server_learning_rate: float,
    beta1: float,
    tau: float,
    second: Second,
) -> Outcome:
    """Return one step of algorithm 2, with `second` as the line for v.

    Raises:
        EmptyRound: if no client answered.
    """
    mean, figures = mean_and_bias(updates, params)
    m = map_tensors(lambda old, new: beta1 * old + (1 - beta1) * new, _part(state, FIRST), mean)
    v = map_tensors(lambda old, new: second(old, new.square()), _part(state, SECOND), mean)
    step = map_tensors(lambda first, other: server_learning_rate * first / (other.sqrt() + tau), m, v)
    moments = {f"{FIRST}{name}": value for name, value in m.items()} | {f"{SECOND}{name}": value for name, value in v.items()}
    return Outcome(shared=take_step(params, step), state=moments, figures=figures)


def _part(state: Tensors, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
