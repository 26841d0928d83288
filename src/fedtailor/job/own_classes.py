"""Classes of the user's own that a job names as package.module:Class: imported, built, and named where they fail."""

import importlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import is_dataclass
from pathlib import Path

from pydantic_core import PydanticCustomError

from ..causes import detail_of

_ALLOWED = ContextVar("own_classes", default=True)  # whether a job may name classes of the user's own
_IMPORTED: dict[type, str] = {}  # in this process, by the name that a job gave
_UNDER_WAY: list[str] = []  # what a class of the user's is doing, the last one now


@contextmanager
def fedtailors_classes_alone() -> Iterator[None]:
    """Let no job that is read inside the block import a class of somebody's own, wherever and however it names it."""
    before = _ALLOWED.set(False)
    try:
        yield
    finally:
        _ALLOWED.reset(before)


def import_class(name: str) -> type:
    """Return the dataclass that "package.module:Class" names; the folder that one stands in is searched too.

    Raises:
        PydanticCustomError: if it cannot be imported, is no dataclass, or may not be used here.
    """
    if not _ALLOWED.get():
        raise unusable(name, "only techniques that come with fedtailor run in jobs from elsewhere")
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    sys.path.extend([] if here in sys.path else [here])
    try:
        with _doing(f"importing {module}, which the job names"):
            found = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # whatever a module of the user's does when it is imported
        raise unusable(name, _described(error)) from None
    if not (isinstance(found, type) and is_dataclass(found)):
        raise unusable(name, "it is not a dataclass")
    _IMPORTED[found] = name
    return found


def any_imported() -> bool:
    """Return whether a job has named a class of the user's own in this process."""
    return bool(_IMPORTED)


def under_way() -> str:
    """Return which class of the user's is being imported or built at this moment, in any thread; "" if none is."""
    return _UNDER_WAY[-1] if _UNDER_WAY else ""


@contextmanager
def building(cls: type) -> Iterator[None]:
    """Let it be known inside the block that a class of the user's is being built; fedtailor's own are not worth a line."""
    name = _IMPORTED.get(cls)
    with nullcontext() if name is None else _doing(f"building the class {name} that the job names"):
        yield


@contextmanager
def _doing(what: str) -> Iterator[None]:
    _UNDER_WAY.append(what)
    try:
        yield
    finally:
        _UNDER_WAY.remove(what)


def unusable(name: str, reason: str) -> PydanticCustomError:
    """Return the fault of a job that names a class which cannot be used."""
    shown = name if len(name) <= 120 else f"{name[:117]}..."
    return PydanticCustomError("import", "{name}", {"name": shown, "reason": reason})


def built_wrongly(cls: type, error: BaseException) -> PydanticCustomError | None:
    """Return the fault of a class of the user's that raised when it was built; None for fedtailor's own classes."""
    name = _IMPORTED.get(cls)
    return None if name is None else unusable(name, f"it raised {_described(error)} when it was built")


def blame(error: BaseException) -> str | None:
    """Return a sentence that names the user's class which an exception came out of; None if it came out of none.

    It did where the last line that ran stands in the class's module, or where fedtailor asked the class for what it does not have.
    """
    missing, of = getattr(error, "name", None), getattr(error, "obj", None)
    for cls, name in reversed(_IMPORTED.items()):  # of two that are called alike, the one that was named last
        if isinstance(error, AttributeError) and isinstance(of, cls):
            return f"the class {name!r} that the job names has no {missing!r}; docs/extending.md says what each technique needs."
        if isinstance(error, TypeError) and str(error).startswith(f"{cls.__qualname__}."):
            return f"the class {name!r} that the job names is called in another way than it expects: {detail_of(error)}; docs/extending.md shows the arguments."
        if (line := _last_line_of(cls, error)) is not None:
            return f"the class {name!r} that the job names raised {detail_of(error)} ({line}); correct it there."
    return None


def _described(error: BaseException) -> str:
    """Return what a module or a class of the user's raised, and where."""
    last = next(iter(reversed(traceback.extract_tb(error.__traceback__))), None)
    theirs = last is not None and last.filename != __file__ and not last.filename.startswith("<frozen")
    where = f" ({last.filename}, line {last.lineno})" if theirs and last is not None and "importlib" not in last.filename else ""
    return f"{detail_of(error)}{where}"


def _last_line_of(cls: type, error: BaseException) -> str | None:
    """Return file and line of the last frame of a traceback, if it stands in the module of `cls`."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    last = next(iter(reversed(traceback.extract_tb(error.__traceback__))), None)
    return f"{file}, line {last.lineno}" if last is not None and file is not None and last.filename == file else None
