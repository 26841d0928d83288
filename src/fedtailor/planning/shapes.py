"""What a step of a model computes and keeps in memory, found from shapes alone: no number is computed.

Tensors of floats are `FakeTensor`s of torch, which know shape, dtype and device; whole numbers and truth values, such as masks, are computed as always,
since models look into them. So the model runs through its own code, in its own precision, on the attention kernels that it would use.
"""

import copy
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.flop_counter import FlopCounterMode

ATTENTION = ("bmm", "baddbmm", "scaled_dot_product", "flash", "efficient_attention", "cudnn_attention")


class Shapes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs what touches the weights on shapes alone, and counts the bytes that are alive at once beside them."""

    def __init__(self, fake: FakeTensorMode, weights: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live_bytes = self.peak_bytes = 0
        self._fake = fake
        self._known = {tensor.untyped_storage()._cdata for tensor in (*weights.parameters(), *weights.buffers())}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(isinstance(value, FakeTensor) for value in tree_flatten((args, kwargs))[0]):
            return func(*args, **kwargs)
        args, kwargs = tree_map(self._shape, (args, kwargs))
        with self._fake:
            found = func(*args, **kwargs)
        for value in tree_flatten(found)[0]:
            if isinstance(value, torch.Tensor):
                self._weigh(value)
        return found

    def _shape(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor):
            return self._fake.from_tensor(value, static_shapes=True)
        return value

    def _weigh(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._known:
            return
        self._known.add(storage._cdata)
        self.live_bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())

    def _free(self, key: int, size_bytes: int) -> None:
        self._known.discard(key)
        self.live_bytes -= size_bytes


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Floating-point operations by what they grow with."""

    linear: float = 0.0  # with the tokens of a batch, padding included
    attention: float = 0.0  # with tokens times the longest sequence
    head: float = 0.0  # of the output head: with the targets that are scored

    def __sub__(self, other: "Operations") -> "Operations":
        return Operations(
            linear=self.linear - other.linear, attention=self.attention - other.attention, head=self.head - other.head
        )

    @property
    def total(self) -> float:
        """All of them."""
        return self.linear + self.attention + self.head


@dataclass(kw_only=True)
class Seen:
    """What was counted inside `shapes_of`."""

    model: nn.Module  # a copy of the model that has shapes alone
    mode: Shapes
    counter: FlopCounterMode
    head: str = ""  # name of the module whose work grows with the targets
    saved: dict[int, int] = field(default_factory=dict)  # bytes of each storage that the backward pass needs, weights apart

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Note, inside the block, what autograd keeps for the backward pass."""
        weights = {tensor.untyped_storage()._cdata for tensor in (*self.model.parameters(), *self.model.buffers())}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in weights:
                self.saved[storage._cdata] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield

    @property
    def operations(self) -> Operations:
        """All operations so far."""
        counts: Mapping[str, Mapping[Any, int]] = self.counter.get_flop_counts()
        everything = counts.get("Global", {})
        attention = sum(count for kind, count in everything.items() if any(name in str(kind) for name in ATTENTION))
        head = next((sum(each.values()) for name, each in counts.items() if self.head and name.endswith(f".{self.head}")), 0)
        return Operations(linear=sum(everything.values()) - attention - head, attention=attention, head=head)


@contextmanager
def shapes_of(model: nn.Module, *, head: str = "") -> Iterator[Seen]:
    """Give a copy of `model` that has shapes alone, and count what is computed with it inside the block; `model` is not touched.

    Args:
        head: name of the module, within the model, whose work grows with the targets that are scored.
    """
    fake = FakeTensorMode()
    shapes = {id(tensor): _shape_of(fake, tensor) for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shapes)
    mode, counter = Shapes(fake, twin), FlopCounterMode(display=False)
    with mode, counter:
        yield Seen(model=twin, mode=mode, counter=counter, head=head)


def _shape_of(fake: FakeTensorMode, tensor: torch.Tensor) -> torch.Tensor:
    found = fake.from_tensor(tensor.detach(), static_shapes=True)
    return nn.Parameter(found, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else found
