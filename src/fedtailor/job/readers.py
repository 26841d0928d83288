"""Readers of settings: they turn the mappings of a job file into the frozen dataclasses of the techniques.

The dataclasses know nothing of pydantic. For each of them a pydantic model of the same fields is made on the fly: it
checks types and names, and its values then build the dataclass, whose own `__post_init__` checks what they mean. So
types, defaults, the schema for editors and the hints in error messages all come from the one dataclass.
"""

import ast
import inspect
import io
import textwrap
import tokenize
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Strict,
    Tag,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    create_model,
)
from pydantic_core import PydanticCustomError

from ..causes import detail_of
from ..errors import SettingError
from ..limits import ANY, WHOLE, beyond_limits
from .own_classes import building, built_wrongly, import_class, unusable

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The techniques of one sort, by public name."""

    what: str  # "tuning", "partition", ...
    classes: Mapping[str, type]
    promise: object = None  # the type that other settings name when they mean any of these
    names: bool = False  # whether any other bare name passes as it is, for whoever knows it

    def holds(self, annotation: object) -> bool:
        """Return whether the annotation means a technique of this registry: its promise, one class, or several."""
        if annotation is self or (self.promise is not None and annotation == self.promise):
            return True
        members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        return bool(members) and all(member in self.classes.values() for member in members)


@dataclass(frozen=True)
class Readers:
    """Makes a pydantic type for every settings dataclass; `registries` says what may stand where a technique is due."""

    registries: Sequence[Registry]
    models: dict[type, type[BaseModel]] = field(default_factory=dict, compare=False)

    def section(self, cls: type) -> Any:
        """Return the type that reads a mapping, or an instance, as the dataclass `cls`."""

        def build(value: object, read: Callable[[object], Any]) -> object:
            if isinstance(value, cls):
                return _within_limits(value)
            checked = read({} if value is None else value)
            try:
                with building(cls):
                    return cls(**{name: getattr(checked, name) for name in checked.model_fields_set})
            except SettingError as error:
                raise PydanticCustomError("setting", "{text}", {"text": str(error), "fields": field_names(cls)}) from None
            except Exception as error:
                if (fault := built_wrongly(cls, error)) is None:
                    raise
                raise fault from None

        return Annotated[self.model(cls), WrapValidator(build)]

    def technique(self, registry: Registry, default: str | None = None) -> Any:
        """Return the type that reads `{kind: NAME, ...}` as the dataclass of that name.

        A bare NAME stands for its defaults; without `kind` it is `default`; "package.module:Class" names a class of the user's.
        """

        def read(value: object, known: Callable[[object], Any]) -> object:
            if is_dataclass(value) and not isinstance(value, type):
                return _within_limits(value)
            if registry.names and isinstance(value, str) and ":" not in value:
                return value
            settings = _with_kind(value, default)
            kind = settings["kind"]
            if ":" in kind:
                return self.read_own(kind, settings)
            if kind not in registry.classes:
                raise PydanticCustomError(
                    "kind", "{what}", {"what": registry.what, "kind": kind, "known": list(registry.classes)}
                )
            return known(settings)

        choices = tuple(Annotated[self.section(cls), Tag(f"@{kind}")] for kind, cls in registry.classes.items())
        several = Annotated[Union[choices], Discriminator(_tag)] if len(choices) > 1 else None  # noqa: UP007
        return Annotated[several or (choices[0] if choices else Any), WrapValidator(read)]

    def read_own(self, name: str, settings: Mapping[str, object]) -> object:
        """Return an instance of the user's dataclass `package.module:Class`, made of the other settings; raise ValueError if these do not fit."""
        cls = import_class(name)
        own = {key: value for key, value in settings.items() if key != "kind"}
        try:
            reader = TypeAdapter[object](self.section(cls))
        except Exception as error:  # its annotations are the user's
            raise unusable(name, f"its fields cannot be read: {detail_of(error)}") from None
        try:
            return reader.validate_python(own)
        except ValidationError as error:
            raise PydanticCustomError(
                "own", "{name}", {"name": name, "fields": field_names(cls), "errors": error.errors(), "raw": own}
            ) from None

    def model(self, cls: type) -> type[BaseModel]:
        """Return the pydantic model with the names, types, defaults and notes of the dataclass `cls`."""
        if cls not in self.models:
            hints = get_type_hints(cls, include_extras=True)
            entries: dict[str, Any] = {}
            for item in fields(cls):
                default = item.default_factory() if item.default_factory is not MISSING else item.default
                shown = ... if default is MISSING else self.plain(default, hints[item.name])
                entries[item.name] = (self.reader(hints[item.name], default), shown)
            config = ConfigDict(**STRICT, json_schema_extra=partial(_add_notes, cls))
            self.models[cls] = create_model(cls.__name__, __config__=config, __doc__=inspect.getdoc(cls), **entries)
        return self.models[cls]

    def reader(self, annotation: Any, default: object = MISSING) -> Any:  # noqa: PLR0911 - one for each sort of type
        """Return the pydantic type that reads what `annotation` describes."""
        for registry in self.registries:
            if registry.holds(annotation):
                return self.technique(registry, default=kind_of(default, registry))
        if isinstance(annotation, type) and is_dataclass(annotation):
            return self.section(annotation)
        if annotation is object or getattr(annotation, "_is_protocol", False):
            return Any
        origin, inner = get_origin(annotation), get_args(annotation)
        if origin in (tuple, Sequence):  # tuples both, so that a job read from a file equals one that was written in Python
            parts: Any = tuple(part if part is ... else self.reader(part) for part in inner)
            return Annotated[tuple.__class_getitem__(parts if origin is tuple else (*parts, ...)), Strict(False)]
        if origin in (Union, UnionType):
            return Union[tuple(self.reader(part) for part in inner)]  # noqa: UP007
        if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
            return Mapping[inner[0], self.reader(inner[1])]  # type: ignore[valid-type, misc]
        return {Path: Annotated[Path, Strict(False)], int: Annotated[int, WHOLE], float: Annotated[float, ANY]}.get(
            annotation, annotation
        )

    def plain(self, value: object, annotation: object = None) -> Any:
        """Return settings as mappings, lists, texts and numbers, all defaults written out; the readers read them back."""
        if is_dataclass(value) and not isinstance(value, type):
            hints = get_type_hints(type(value))
            named = {item.name: self.plain(getattr(value, item.name), hints[item.name]) for item in fields(value)}
            registry = next((r for r in self.registries if r.holds(_without_none(annotation))), None)
            kind = {} if registry is None else {"kind": kind_of(value, registry)}
            return kind | {name: inner for name, inner in named.items() if name not in kind}
        if isinstance(value, Mapping):
            return {key: self.plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(inner, _of_items(annotation)) for inner in value]
        return str(value) if isinstance(value, Path) else value


def _without_none(annotation: object) -> object:
    """Return what may stand where None may, too."""
    members = [member for member in get_args(annotation) if member is not type(None)]
    return members[0] if get_origin(annotation) in (Union, UnionType) and len(members) == 1 else annotation


def _of_items(annotation: object) -> object:
    """Return what each item of a list is annotated with; None where nothing says so."""
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((get_args(member)[0] for member in members if get_origin(member) is Sequence), None)


def _within_limits(settings: Any) -> object:
    """Return a dataclass of settings that was made in Python, if each of its numbers is one that a job file may hold."""
    for name, most in beyond_limits(settings):
        text = f"{name} must be at most {most:,}; got {getattr(settings, name)!r}"
        raise PydanticCustomError("setting", "{text}", {"text": text, "fields": field_names(type(settings))})
    return settings


def _with_kind(value: object, default: str | None) -> dict[str, Any]:
    settings = {"kind": value} if isinstance(value, str) else {} if value is None else value
    if not isinstance(settings, Mapping):
        raise PydanticCustomError("model_type", "not a mapping")
    kind = settings.get("kind", default)
    if not isinstance(kind, str):
        raise PydanticCustomError("no_kind", "no kind") if kind is None else PydanticCustomError("string_type", "not text")
    return {**settings, "kind": kind}


def _tag(value: Any) -> str:
    kind = value["kind"] if isinstance(value, Mapping) else getattr(value, "kind", "")
    return f"@{kind}"


def kind_of(value: object, registry: Registry) -> str | None:
    """Return the public name of a technique, or "module:Class" for a class that is not in `registry`."""
    if not is_dataclass(value) or isinstance(value, type):
        return None
    cls = type(value)
    return next((kind for kind, known in registry.classes.items() if known is cls), f"{cls.__module__}:{cls.__qualname__}")


def field_names(cls: type) -> list[str]:
    """Return the settings of a dataclass, in the order they are written."""
    return [item.name for item in fields(cls)]


def _add_notes(cls: type, schema: dict[str, Any]) -> None:
    """Describe each setting of a schema; only then is the source of its class read, which takes a second for all of them."""
    for name, note in field_notes(cls).items():
        schema["properties"][name].setdefault("description", note)


def field_notes(cls: type) -> dict[str, str]:
    """Return the comment behind each field in the source of `cls` and its bases, so that editors and hints can show it.

    It stands on a line of the field: where a long one is wrapped, on the line of its default.
    """
    try:
        source = textwrap.dedent(inspect.getsource(cls))
        body: list[ast.stmt] = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    except (OSError, TypeError, SyntaxError):  # the last where text in a class inside a function stands further out than its code
        return {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ").strip() for token in tokens if token.type == tokenize.COMMENT}
    notes = {name: note for base in cls.__bases__ if is_dataclass(base) for name, note in field_notes(base).items()}
    for item in body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.target.id in field_names(cls):
            lines = range(item.lineno, (item.end_lineno or item.lineno) + 1)
            note = next((comments[line] for line in lines if line in comments), None)
            notes |= {} if note is None else {item.target.id: note.replace("None:", "null:")}
    return notes
