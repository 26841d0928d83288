"""One side of the cut at one client: its trained weights, their optimizer, and what it writes and reads."""

from collections.abc import Callable, Collection, Container
from statistics import fmean

import torch
from torch import Tensor, nn

from ...chance import stream_seed
from ...learning.corrections import proximal
from ...learning.local import LocalTraining
from ...learning.training import make_optimizer, moments_of, restore_moments, set_rate
from ...messages.wires.table import Wire
from ...models.cut import Draws
from ...tensors import Tensors, check_finite, clone, subtract

# N tokens without padding, H hidden width

TINY = 1e-30  # in the place of the norm of a table of zeros
MOMENTS = "moments/"  # in front of the name of an optimizer's moment, which is FIELD/WEIGHT


class Side:
    """Trained weights of one side; they are nobody else's, and never in the model itself."""

    def __init__(
        self,
        tensors: Tensors,
        settings: LocalTraining,
        device: torch.device,
        *,
        moments: Tensors | None = None,
        heads: Collection[str] = (),
    ) -> None:
        """Take copies of the weights that a round starts from, and of the optimizer's moments if these are kept."""
        ordered = {name: tensors[name].detach() for name in sorted(tensors)}  # sums over all have the same bits in any run
        self.params = {name: nn.Parameter(value.to(device, torch.float32, copy=True)) for name, value in ordered.items()}
        self._start = clone(tensors)
        self._settings = settings
        self._engine = make_optimizer(self.params, settings, heads=heads) if self.params else None
        self.restore(moments or {})
        self._correct = proximal(self.params, settings.proximal) if settings.proximal else None

    def step(self, rate: float) -> None:
        """Take one optimizer step with the gradients that have come, and forget them. Clipping is by the norm of this side alone."""
        if self._engine is None:
            return
        set_rate(self._engine, rate)
        if self._correct is not None:
            self._correct(self.params)
        if self._settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_([p for p in self.params.values() if p.grad is not None], self._settings.clip_norm)
        self._engine.step()
        self._engine.zero_grad(set_to_none=True)

    def stash(self) -> dict[str, Tensor]:
        """Return copies of the weights as they are now, which gather gradients of their own."""
        return {name: param.detach().clone().requires_grad_() for name, param in self.params.items()}

    def take_gradients(self, stashed: Tensors) -> None:
        """Let the next step go by the gradients that copies of the weights have gathered."""
        for name, param in self.params.items():
            param.grad = stashed[name].grad

    def restore(self, moments: Tensors) -> None:
        """Let the optimizer continue with these moments, named "field/weight"."""
        if self._engine is not None:
            restore_moments(self._engine, self.params, moments)

    def moments(self) -> dict[str, Tensor]:
        """Return the optimizer's moments by "field/weight", on the CPU."""
        return {} if self._engine is None else moments_of(self._engine, self.params)

    def delta(self) -> dict[str, Tensor]:
        """Return trained minus received, by name, on the CPU."""
        return subtract(clone(self.params), self._start)

    def snapshot(self) -> "Callable[[], None]":
        """Return what takes weights and optimizer back to where they are now."""
        weights = clone(self.params)
        moments = [
            {field: value.clone() if isinstance(value, Tensor) else value for field, value in state.items()}
            for state in (self._engine.state.get(param, {}) for param in self.params.values())
        ] if self._engine else []  # fmt: skip

        def restore() -> None:
            with torch.no_grad():
                for name, value in weights.items():
                    self.params[name].copy_(value)
                    self.params[name].grad = None
            if self._engine is not None:
                self._engine.state.clear()
                for param, state in zip(self.params.values(), moments, strict=True):
                    if state:
                        self._engine.state[param].update(state)

        return restore


def moment_fields(settings: LocalTraining) -> tuple[str, ...]:
    """Return what torch's optimizer remembers of each weight, by the names of its state."""
    if settings.optimizer == "adamw":
        return ("exp_avg", "exp_avg_sq", "step")
    return ("momentum_buffer",) if settings.momentum else ()


def moved(moments: Tensors, names: Container[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return moments of the weights in `names`, and those of others, by "field/weight"."""
    inside = {name: value for name, value in moments.items() if name.split("/", 1)[1] in names}
    return inside, {name: value for name, value in moments.items() if name not in inside}


class Line:
    """Writes tables of one kind, of one client's conversation.

    Error feedback is for gradients alone. As every step has other tokens, what a code has lost is not kept per value but per channel:
    its sum over the message's tokens is spread over the tokens of the next message, so that sums over tokens, which the gradients of
    weights are made of, lose nothing in the long run. (Our own reading: Seide et al., 2014, and Karimireddy et al., 2019,
    arXiv:1901.09847, keep the whole gradient's error, which has a fixed shape.)
    """

    def __init__(self, wire: Wire, seed: Callable[[int], int], *, lost_H: Tensor | None = None, feedback: bool = False) -> None:
        """Take the code, the seed of its draws by step, and what was lost before."""
        self._wire, self._seed = wire, seed
        self._feedback = feedback and not wire.exact
        self.lost_H = lost_H
        self._errors: list[float] = []

    def write(self, values_NH: Tensor, step: int, what: str) -> dict[str, Tensor]:
        """Return the tensors that stand for a table.

        Raises:
            NotFinite: if it holds NaN or infinity; `what` names it.
        """
        check_finite({what: values_NH}, f"step {step + 1}")
        if self._feedback and self.lost_H is not None:
            values_NH = values_NH + self.lost_H / len(values_NH)
        tensors = self._wire.pack(values_NH, self._seed(step))
        if not self._wire.exact:
            lost_NH = values_NH - self._wire.unpack(tensors, values_NH.shape[1])
            self._errors.append((lost_NH.norm() / values_NH.norm().clamp(min=TINY)).item())
            if self._feedback:
                self.lost_H = lost_NH.sum(0)
        return tensors

    @property
    def error(self) -> float | None:
        """What the code loses of a table, as a share of the table's norm, mean over the tables so far; None if it loses nothing."""
        return fmean(self._errors) if self._errors else None


def line_seed(seed: int, kind: str, round: int, client: str) -> Callable[[int], int]:
    """Return the seed of a code's draws by step, for messages of one kind."""
    return lambda step: stream_seed(seed, f"{kind}/{step}", round, client)


def dropout_draws(seed: int, round: int, client: str, step: int) -> Draws:
    """Return the seeds of dropout by place in the model: the same on both sides of any cut."""
    return lambda place: stream_seed(seed, f"split-dropout/{step}/{place}", round, client)
