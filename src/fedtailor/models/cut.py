"""Cuts a model between two of its blocks: any part of it runs alone, on what the part before it gave.

A part runs by letting the model's own forward run, so that masks, position embeddings and heads are the model's own code: blocks
before the part pass on what they get, its first block takes the hidden states that were received, and behind its last block the
forward pass is left. Every model of transformers whose blocks form one list can be cut so.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from ..chance import seed_torch
from ..errors import BackboneError

# B sequences, L tokens, H hidden width

Result = TypeVar("Result")
Draws = Callable[[int], int]
"""Gives the seed of torch's draws at a place: 0 before the first block, i + 1 in block i, blocks + 1 behind the last one."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The blocks from `start` to before `stop`; from 0 with the embeddings, and with norm and head where `stop` is None."""

    start: int = 0
    stop: int | None = None


@dataclass(frozen=True, kw_only=True)
class CutModel:
    """A model and the places where it can be cut."""

    model: nn.Module
    path: str  # of the list of blocks, as `named_modules` names it
    blocks: tuple[nn.Module, ...]
    width: int  # of the hidden states
    wrapped: bool  # blocks give back a tuple that begins with the hidden states
    embedding: frozenset[str]  # names of the parameters outside of blocks that are used before the first one

    def place(self, parameter: str) -> int:
        """Return where a parameter, by its name in the model, is used: -1 before the blocks, i in block i, len(blocks) behind them."""
        found = re.match(re.escape(self.path) + r"\.(\d+)\.", parameter)
        if found:
            return int(found[1])
        return -1 if parameter in self.embedding else len(self.blocks)

    def run(
        self,
        work: Callable[[], Result],
        part: Part,
        *,
        tensors: Mapping[str, Tensor],
        received_BLH: Tensor | None = None,
        draws: Draws | None = None,
    ) -> Result | Tensor:
        """Let `work` call the model, of which only `part` is computed.

        Several computations may be under way at once, each between its forward and its backward pass: `tensors` take the place of
        parameters inside this call alone, and nothing is copied into the model. Draws of dropout come from a seed at each place, so
        that they do not depend on where the model is cut.

        Args:
            work: calls the model once; its tokens are of no influence where the part does not begin at 0, but for their shape.
            tensors: in the place of the model's parameters, by their names in the model.
            received_BLH: what the part before gave, unless the part begins at 0; gradients flow back into it.
            draws: seeds of dropout; None: torch's own stream.

        Returns:
            The hidden states [B, L, H] behind the part's last block, or what `work` returns if the part has the head.
        """

        device = next(self.model.parameters()).device

        def inside() -> Result | Tensor:
            try:
                with self._in_parts(part, received_BLH, draws):
                    _seed(draws, 0, device)
                    return work()
            except _Left as left:
                return left.hidden_BLH

        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else [], enabled=draws is not None):
            named = {f"model.{name}": value for name, value in tensors.items()}
            return cast("Result | Tensor", torch.func.functional_call(_Holder(self.model), named, (inside,)))

    @contextmanager
    def _in_parts(self, part: Part, received_BLH: Tensor | None, draws: Draws | None) -> Iterator[None]:
        before = [vars(block).get("forward") for block in self.blocks]  # some loaders put a forward of their own there
        try:
            for index, block in enumerate(self.blocks):
                vars(block)["forward"] = self._forward(index, block.forward, part, received_BLH, draws)
            yield
        finally:
            for block, own in zip(self.blocks, before, strict=True):
                vars(block).pop("forward")
                if own is not None:
                    vars(block)["forward"] = own

    def _forward(
        self, index: int, own: Callable[..., Any], part: Part, received_BLH: Tensor | None, draws: Draws | None
    ) -> Callable[..., Any]:
        """Return what stands in for the forward of block `index`."""
        last = len(self.blocks) - 1
        takes = part.start == index or part.start > last == index  # a part behind all blocks begins where the last one ends

        def forward(*inputs: Any, **named: Any) -> Any:
            hidden_BLH, *others = inputs or (named.pop("hidden_states"),)
            if received_BLH is not None and takes:
                hidden_BLH = received_BLH.to(hidden_BLH.dtype)
            if index < part.start:
                output: Any = (hidden_BLH,) if self.wrapped else hidden_BLH
            else:
                _seed(draws, index + 1, hidden_BLH.device)
                output = own(hidden_BLH, *others, **named)
            if part.stop == index + 1:
                raise _Left(output[0] if self.wrapped else output)
            if index == last:
                _seed(draws, last + 2, hidden_BLH.device)
            return output

        return forward


def cut_model(model: nn.Module, probe: Callable[[], object]) -> CutModel:
    """Return the model with the places where it can be cut.

    Args:
        model: of transformers, or a tuning's wrapper around one.
        probe: calls the model once on anything; it is left behind the first block.

    Raises:
        BackboneError: if its blocks do not form one list, or it bears no padding on the right.
    """
    if getattr(model, "padding_side", "right") != "right":
        raise BackboneError(
            f"a {_bare(model).__name__} gives a text another result when it is padded on the right, as batches of a cut model are; choose a "
            "backbone like GPT-2, Llama or BERT, or protocol: averaging"
        )
    path, blocks = _find_blocks(model)
    seen: list[Any] = []
    used: set[str] = set()
    names = {id(module): name for name, module in model.named_modules()}

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        prefix = names[id(module)]
        used.update(f"{prefix}.{name}" for name, _ in module.named_parameters(recurse=False))

    def leave(block: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen.append(output)
        raise _Left(output)

    inside = {id(module) for module in blocks[0].modules()}
    handles = [module.register_forward_pre_hook(note) for module in model.modules() if id(module) not in inside]
    handles.append(blocks[0].register_forward_hook(leave))
    try:
        with torch.no_grad():
            probe()
    except _Left:
        pass
    finally:
        for handle in handles:
            handle.remove()
    wrapped = isinstance(seen[0], tuple) if seen else False
    hidden = (seen[0][0] if wrapped else seen[0]) if seen else None
    if not isinstance(hidden, Tensor):
        raise BackboneError(f"a {_bare(model).__name__} does not pass hidden states through its first block, so it cannot be cut")
    width = hidden.shape[-1]
    return CutModel(model=model, path=path, blocks=blocks, width=width, wrapped=wrapped, embedding=frozenset(used))


def _find_blocks(model: nn.Module) -> tuple[str, tuple[nn.Module, ...]]:
    count = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    found = {
        name: module for name, module in lists.items() if len(module) == count and len({type(block) for block in module}) == 1
    }
    if not found:
        raise BackboneError(
            f"a {_bare(model).__name__} has no list of {count} blocks that are alike, so it cannot be cut; "
            "choose a backbone like GPT-2, Llama or BERT, or protocol: averaging"
        )
    path = min(found, key=lambda name: name.count("."))
    return path, tuple(found[path])


def _bare(model: nn.Module) -> type:
    inner: Any = model
    return type(inner.get_base_model() if hasattr(inner, "get_base_model") else inner)


def _seed(draws: Draws | None, place: int, device: torch.device) -> None:
    if draws is not None:
        seed_torch(draws(place), device)


class _Holder(nn.Module):
    """Lets `functional_call` put tensors into a model around any work with it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[], Result]) -> Result:
        return work()


class _Left(Exception):
    """Carries the hidden states out of a forward pass whose rest is not wanted."""

    def __init__(self, hidden_BLH: Tensor) -> None:
        super().__init__()
        self.hidden_BLH = hidden_BLH
