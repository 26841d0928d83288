"""Where gradients of single examples come from in one backward pass over a batch: linear layers, and vectors that stand before a text.

A source listens while the model is computed, sums what it hears by unit, and gives the norm of each unit's gradient and any weighted sum of them. All is
computed in float32 from the same tensors, so that what is summed is what was measured, whatever precision the model computes in.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

# B rows of a batch, U units, T positions, I values in, O values out, N positions of a prefix, D values of one of them


class Mixed(Exception):
    """A layer saw something else than one row for each example, so that it cannot give gradients of single examples."""


@dataclass(kw_only=True)
class Units:
    """The units of the batches under way, and the place of each row of the next one among them."""

    count: int = 0
    of_rows_B: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))

    def summed(self, total_U: Tensor | None, per_row_B: Tensor) -> Tensor:
        """Return the sum by unit with the values of these rows added, [U, ...] float32.

        Raises:
            Mixed: if there is not one row for each example.
        """
        if len(per_row_B) != len(self.of_rows_B):
            raise Mixed
        if total_U is None:
            total_U = per_row_B.new_zeros(self.count, *per_row_B.shape[1:])
        return total_U.index_add_(0, self.of_rows_B.to(per_row_B.device), per_row_B)


class Source(Protocol):
    """Gradients by unit of some weights."""

    @property
    def params(self) -> Mapping[str, nn.Parameter]:
        """The weights, by names of its own."""

    def listening(self, units: Units) -> AbstractContextManager[None]:
        """Listen to forward and backward passes inside the block; what was heard before is forgotten."""

    def squares(self) -> Tensor:
        """Return the squared norm of the gradient of each unit, float32 [U]."""

    def weighted(self, factor_U: Tensor) -> dict[str, Tensor]:
        """Return the sum of the gradients times a factor for each unit, by name."""


@dataclass(kw_only=True)
class OfLinear:
    """A linear layer: the gradient of row b is the sum over positions of g_b x_b, with x what came in and g the gradient of what went out."""

    module: nn.Linear
    names: Mapping[str, str]  # of weight and bias, as far as they are trained: "weight" -> its name
    found: dict[str, Tensor] = field(default_factory=dict)

    @property
    def params(self) -> Mapping[str, nn.Parameter]:
        """The trained ones of weight and bias."""
        return {name: getattr(self.module, part) for part, name in self.names.items()}

    @contextmanager
    def listening(self, units: Units) -> Iterator[None]:
        """See `Source`."""
        self.found = {}

        def forward(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            x_BTI = inputs[0].detach()
            output.register_hook(lambda g_BTO: self._add(units, x_BTI, g_BTO))  # type: ignore[no-untyped-call]

        handle = self.module.register_forward_hook(forward)
        try:
            yield
        finally:
            handle.remove()

    def _add(self, units: Units, x: Tensor, g: Tensor) -> None:
        x_BTI, g_BTO = (value.reshape(len(value), -1, value.shape[-1]).float() for value in (x, g))
        if "weight" in self.names:
            self.found["weight"] = units.summed(self.found.get("weight"), torch.bmm(g_BTO.transpose(1, 2), x_BTI))
        if "bias" in self.names:
            self.found["bias"] = units.summed(self.found.get("bias"), g_BTO.sum(1))

    def squares(self) -> Tensor:
        """See `Source`."""
        return torch.stack([value_U.flatten(1).square().sum(1) for value_U in self.found.values()]).sum(0)

    def weighted(self, factor_U: Tensor) -> dict[str, Tensor]:
        """See `Source`."""
        return {
            self.names[part]: torch.tensordot(factor_U.to(value_U.device), value_U, dims=1)
            for part, value_U in self.found.items()
        }


@dataclass(kw_only=True)
class OfFront:
    """What makes the vectors of a prompt or a prefix: each row gets a copy of its own, whose gradient is that of the row alone.

    Of a network that makes them, norms follow from its N positions alone: with a what came into a linear layer and d the gradient of what went
    out, |sum_n d_n a_n|^2 = sum_nm (d_n d_m) (a_n a_m). The sum of clipped gradients is one backward pass of the network.
    """

    model: nn.Module  # PEFT's
    encoder: nn.Module  # its vectors [N, D] are the same for each row
    names: Mapping[nn.Parameter, str]
    found_UND: Tensor | None = None

    @property
    def params(self) -> Mapping[str, nn.Parameter]:
        """The weights of the encoder."""
        return {name: param for param, name in self.names.items()}

    @contextmanager
    def listening(self, units: Units) -> Iterator[None]:
        """See `Source`."""
        self.found_UND = None
        if hasattr(self.encoder, "vectors"):  # ours, which runs once and is expanded
            handle = self.encoder.register_forward_hook(lambda module, inputs, output: self._copies(units, output))
            ending = handle.remove
        else:  # PEFT's: what it gives is repeated for each row by the model
            model: Any = self.model
            given = model.get_prompt
            model.get_prompt = lambda *args, **more: self._copies(units, given(*args, **more))
            ending = functools.partial(delattr, model, "get_prompt")
        try:
            yield
        finally:
            ending()

    def _copies(self, units: Units, vectors_BND: Tensor) -> Tensor:
        """Return vectors that are a leaf of their own for each row."""
        leaf_BND = vectors_BND.detach().clone().requires_grad_(True)
        leaf_BND.register_hook(lambda g_BND: self._add(units, g_BND))  # type: ignore[no-untyped-call]
        return leaf_BND

    def _add(self, units: Units, g_BND: Tensor) -> None:
        self.found_UND = units.summed(self.found_UND, g_BND.float())

    def squares(self) -> Tensor:
        """See `Source`."""
        assert self.found_UND is not None
        table = self._table
        network = getattr(self.encoder, "transform", None)
        if network is None:
            return self.found_UND.flatten(1).square().sum(1)
        heard: list[tuple[nn.Linear, Tensor, Tensor]] = []
        leaf_UNW = table.detach().expand(len(self.found_UND), -1, -1).clone().requires_grad_(True)
        with ExitStack() as hooks, torch.enable_grad():
            for layer in (each for each in network if isinstance(each, nn.Linear)):
                handle = layer.register_forward_hook(_hearing(heard))
                hooks.callback(handle.remove)
            made_UND = network(leaf_UNW)
        grads = torch.autograd.grad(made_UND, [leaf_UNW, *(out for _, _, out in heard)], self.found_UND)
        total_U = grads[0].flatten(1).square().sum(1)
        for (layer, a_UNI, _), d_UNO in zip(heard, grads[1:], strict=True):
            total_U = total_U + (torch.bmm(d_UNO, d_UNO.mT) * torch.bmm(a_UNI, a_UNI.mT)).flatten(1).sum(1)
            total_U = total_U if layer.bias is None else total_U + d_UNO.sum(1).square().sum(1)
        return total_U

    def weighted(self, factor_U: Tensor) -> dict[str, Tensor]:
        """See `Source`."""
        assert self.found_UND is not None
        sum_ND = torch.tensordot(factor_U.to(self.found_UND.device), self.found_UND, dims=1)
        network = getattr(self.encoder, "transform", None)
        with torch.enable_grad():
            made_ND = self._table if network is None else network(self._table)
        grads = torch.autograd.grad(made_ND, list(self.names), sum_ND)
        return dict(zip(self.names.values(), grads, strict=True))

    @property
    def _table(self) -> Tensor:
        """The embedding of the positions, [N, D] or, before a network, [N, W]."""
        found: Tensor = self.encoder.embedding.weight  # type: ignore[union-attr, assignment]
        return found


def _hearing(heard: list[tuple[nn.Linear, Tensor, Tensor]]) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
    def hear(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        heard.append((layer, inputs[0].detach(), output))

    return hear


def sources_of(model: nn.Module, params: Mapping[str, nn.Parameter]) -> list[Source] | None:
    """Return sources for all of these weights; None if some belong to no linear layer and to nothing that stands before a text."""
    names = {param: name for name, param in params.items()}
    found: list[Source] = []
    front = getattr(model, "prompt_encoder", None)
    for encoder in front.values() if isinstance(front, nn.ModuleDict) else ():
        own = {param: names[param] for param in encoder.parameters() if param in names}
        if own and len(own) == len(list(encoder.parameters())) and hasattr(encoder, "embedding"):
            found.append(OfFront(model=model, encoder=encoder, names=own))
            names = {param: name for param, name in names.items() if param not in own}
    for module in model.modules():
        if type(module) is not nn.Linear:
            continue
        parts = {part: names[param] for part, param in module.named_parameters(recurse=False) if param in names}
        if parts:
            found.append(OfLinear(module=module, names=parts))
            names = {param: name for param, name in names.items() if name not in parts.values()}
    return None if names else found
