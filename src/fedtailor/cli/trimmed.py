"""Lets a command load less of torch and transformers: what it never uses takes as long to import as all the rest.

Decorators of both ask for torch's compiler, which loads code generators, symbolic algebra and distributed tensors, though nothing is compiled. A
stand-in takes the marks that they make; the compiler itself is loaded, and given the marks, when anything else of it is asked for, as
`torch.compile` does. transformers finds torch without distributed tensors and no scipy, as in an installation that has neither: both serve
training over several processes and losses of object detection. All this holds for a process whose main program is `fedtailor`.
"""

import functools
import gc
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"
LIGHT = (f"{COMPILER}._trace_wrapped_higher_order_op",)  # that transformers uses in its masks, and that needs none of the rest


def trim_imports() -> None:
    """Trim what is imported from now on, unless torch is there already."""
    if "torch" not in sys.modules:
        sys.meta_path.insert(0, _Trim())


@contextmanager
def collection_paused(*, keep: bool = False) -> Iterator[Callable[[], None]]:
    """Let Python look for no garbage inside the block, or until what is yielded is called.

    Modules are made of a million objects that stay; to look through them again and again is a sixth of the time that importing takes.

    Args:
        keep: whether all that is there at the end of the block is never looked through again: for a block that imports torch, and does little else.
    """
    keep = keep and "torch" not in sys.modules
    resume = gc.enable if gc.isenabled() else lambda: None
    gc.disable()
    try:
        yield resume
    finally:
        if keep:
            gc.freeze()
        resume()


class _StandIn(ModuleType):
    """Stands for the compiler where functions are marked for it; anything else is asked of the compiler itself."""

    def __init__(self) -> None:
        super().__init__(COMPILER)
        self.begun = False  # whether the compiler is loaded, or about to be
        self._real: Any = None
        self._marks: list[tuple[str, Any]] = []  # how functions were marked, and which

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.real(), name)

    def real(self) -> Any:
        """Return the compiler, which is loaded at the first call."""
        if self.begun:
            return self._real or sys.modules[COMPILER]  # while it is loaded, its own parts ask for it
        self.begun = True
        del sys.modules[COMPILER]
        vars(sys.modules["torch"]).pop("_dynamo", None)
        real = importlib.import_module(COMPILER)
        for name in LIGHT:
            if name in sys.modules:
                setattr(real, name.rpartition(".")[2], sys.modules[name])
        for how, function in self._marks:
            getattr(real, how)(function)
        self._real = real
        return real

    def _mark(self, how: str, function: Any) -> Any:
        if self._real is not None:
            return getattr(self._real, how)(function)
        self._marks.append((how, function))
        return function

    def allow_in_graph(self, fn: Any) -> Any:
        """Mark a function for the compiler."""
        return self._mark("allow_in_graph", fn)

    def assume_constant_result(self, fn: Any) -> Any:
        """Mark a function for the compiler."""
        return self._mark("assume_constant_result", fn)

    def graph_break(self, msg: str = "") -> None:
        """Do nothing, as the compiler's own does outside of what is compiled."""

    def disable(self, fn: Any = None, recursive: bool = True, **options: Any) -> Any:
        """Return a function that calls `fn`: where there is a compiler, one that it leaves alone."""
        if fn is None:
            return lambda given: self.disable(given, recursive, **options)
        if not inspect.isroutine(fn):
            return self.real().disable(fn, recursive, **options)
        made: Callable[..., Any] | None = None

        @functools.wraps(fn)
        def call(*given: Any, **named: Any) -> Any:
            nonlocal made
            if made is None and self._real is not None:
                made = self._real.disable(fn, recursive, **options)
            return (made or fn)(*given, **named)

        return call


class _Trim(MetaPathFinder, Loader):
    """Gives the stand-in in the place of the compiler, and nothing else: all other modules are found as usual."""

    def __init__(self) -> None:
        self._stand_in = _StandIn()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where the stand-in comes from; None for whatever is found as usual."""
        if name == "transformers":
            _without_processes()
        elif name == "transformers.loss":
            vars(sys.modules["transformers.utils"])["is_scipy_available"] = lambda: False
        if self._stand_in.begun or name in LIGHT:
            return None
        if name.startswith(f"{COMPILER}."):  # a part: the whole is loaded first
            self._stand_in.real()
            return ModuleSpec(name, self) if name in sys.modules else None
        if name != COMPILER or (spec := PathFinder.find_spec(name, path)) is None:
            return None
        found = ModuleSpec(name, self, origin=spec.origin, is_package=True)
        found.submodule_search_locations = spec.submodule_search_locations
        return found

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the stand-in, or a part that was loaded with the rest of the compiler."""
        return sys.modules.get(spec.name) or self._stand_in

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module is complete."""


def _without_processes() -> None:
    import torch.distributed

    torch.distributed.is_available = lambda: False
