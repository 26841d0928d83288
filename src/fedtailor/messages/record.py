"""Records: what server and clients say to each other, each declared once by its fields.

A record is written to a message and read back by its fields; its form in a manifest, its length and what it reveals come from the same fields.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias, TypeVar

from torch import Tensor

from ..errors import OffManifest
from ..records import Fact, Message
from ..tensors import Tensors, pick
from .specs import FactSpec, MessageSpec, Own, TensorSpec, TensorsReveal

Forms: TypeAlias = Mapping[str, Mapping[str, TensorSpec]]  # of the tensors in each field, by the names that they have there
Figures: TypeAlias = Mapping[str, Mapping[str, Any]]  # what was measured, by part and name: numbers, and lists of counts
Specs: TypeAlias = Mapping[str, FactSpec]  # of figures, by PART.NAME; of a fact, by its name, where a run declares it otherwise
NOTHING: Mapping[str, Any] = MappingProxyType({})
ROLE = "role"  # the key of a field's metadata


@dataclass(frozen=True, kw_only=True)
class Group:
    """A field of named tensors; the one group of a record without prefix and names has all that belong to no other field."""

    reveals: TensorsReveal | Own
    prefix: str = ""  # in front of their names in a message
    names: tuple[str, ...] = ()  # in a message, if only these belong to it
    alone: bool = False  # the field is one tensor or None, and no mapping
    nested: bool = False  # the field has a mapping for each key (a client), which stands before their names


@dataclass(frozen=True, kw_only=True)
class OfTask:
    """A field of figures whose names the task knows."""


def fact(spec: FactSpec, *, sometimes: bool = False) -> Any:
    """Return a field that is one fact; None stands for one that is absent.

    Args:
        sometimes: whether there are runs without it; what one run may leave out of some messages, the spec calls optional.
    """
    return field(default=None if sometimes or spec.optional else MISSING, metadata={ROLE: spec})


def tensors(
    *, reveals: TensorsReveal | Own = "nothing", prefix: str = "", names: Collection[str] = (), nested: bool = False
) -> Any:
    """Return a field of named tensors; see `Group`."""
    group = Group(reveals=reveals, prefix=prefix, names=tuple(names), nested=nested)
    return field(default_factory=dict, metadata={ROLE: group})


def tensor(name: str, *, reveals: TensorsReveal | Own = "nothing") -> Any:
    """Return a field that is one tensor, by its name in a message, or None."""
    return field(default=None, metadata={ROLE: Group(reveals=reveals, names=(name,), alone=True)})


def figures() -> Any:
    """Return a field of what was measured, by part and name; a message has them as PART.NAME."""
    return field(default_factory=dict, metadata={ROLE: OfTask()})


@dataclass(frozen=True, kw_only=True)
class Record:
    """Facts and tensors, declared once."""

    kind: ClassVar[str] = ""
    layout: ClassVar["_Layout"]

    def __init_subclass__(cls, kind: str | None = None) -> None:
        if kind is not None:
            cls.kind = kind


R = TypeVar("R", bound=Record)


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """The fields of a record, by what they are."""

    facts: Mapping[str, FactSpec]
    groups: Mapping[str, Group]
    figures: str | None
    required: frozenset[str]  # facts
    rest: str | None  # the group of all tensors that belong to no other
    named: Mapping[str, str]  # field of a tensor, by its name in a message


def layout_of(form: type[Record]) -> _Layout:
    """Return the fields of a record, by what they are; found once for each."""
    if "layout" not in vars(form):
        form.layout = _layout(form)
    return form.layout


def _layout(form: type[Record]) -> _Layout:
    roles = {each.name: each.metadata[ROLE] for each in fields(form)}
    groups = {name: role for name, role in roles.items() if isinstance(role, Group)}
    return _Layout(
        facts={name: role for name, role in roles.items() if isinstance(role, FactSpec)},
        groups=groups,
        figures=next((name for name, role in roles.items() if isinstance(role, OfTask)), None),
        required=frozenset(
            each.name for each in fields(form) if each.default is MISSING and isinstance(roles[each.name], FactSpec)
        ),
        rest=next((name for name, group in groups.items() if not group.prefix and not group.names), None),
        named={name: field for field, group in groups.items() for name in group.names},
    )


def write(record: Record) -> Message:
    """Return a record as a message; a field of lazy tensors stays lazy where it is the only one that has any."""
    layout = layout_of(type(record))
    facts = {name: value for name in layout.facts if (value := getattr(record, name)) is not None}
    if layout.figures is not None:
        facts |= flat(getattr(record, layout.figures))
    found: list[Tensors] = []
    for name, group in layout.groups.items():
        value = getattr(record, name)
        if group.alone:
            value = {} if value is None else {group.names[0]: value}
        elif group.nested:
            value = {f"{group.prefix}{key}/{inner}": one for key, own in value.items() for inner, one in own.items()}
        elif group.prefix:
            value = {f"{group.prefix}{inner}": one for inner, one in value.items()}
        found += [value] if value else []
    return Message(kind=record.kind, tensors=found[0] if len(found) == 1 else _joined(found), facts=facts)


def read(message: Message, form: type[R]) -> R:
    """Return a message as the record that it is.

    Raises:
        OffManifest: if it is of another kind, lacks a fact, or has one or a tensor that the record has no field for.
    """
    if message.kind != form.kind:
        raise OffManifest(f"message {message.kind!r} came where {form.kind!r} was due; is every message answered once?")
    layout = layout_of(form)
    values: dict[str, Any] = {}
    measured: dict[str, dict[str, Any]] = {}
    for name, value in message.facts.items():
        spec = layout.facts.get(name)
        if spec is not None:
            values[name] = float(value) if spec.type == "float" and isinstance(value, int) else value
            continue
        part, dot, figure = name.partition(".")
        if layout.figures is None or not dot:
            raise OffManifest(f"message {message.kind!r} has a fact {name!r}; known are {', '.join(layout.facts) or 'none'}")
        measured.setdefault(part, {})[figure] = value if isinstance(value, list) else float(value)
    if missing := layout.required - values.keys():
        raise OffManifest(f"message {message.kind!r} lacks the fact {min(missing)!r}")
    if layout.figures is not None:
        values[layout.figures] = measured
    return form(**values, **_groups(message, layout))


def read_any(message: Message, forms: Iterable[type[R]]) -> R:
    """Return a message as the one of several records that it is.

    Raises:
        OffManifest: if it is none of them, or does not have its form; see `read`.
    """
    return read(message, form_of(message, forms))


def form_of(message: Message, forms: Iterable[type[R]]) -> type[R]:
    """Return which of several records a message is; raise OffManifest if it is none of them."""
    known = {form.kind: form for form in forms}
    if message.kind not in known:
        raise OffManifest(f"message {message.kind!r} came; expected {', '.join(map(repr, known))}")
    return known[message.kind]


def spec_of(form: type[Record], forms: Forms = NOTHING, specs: Specs = NOTHING, without: Collection[str] = ()) -> MessageSpec:
    """Return what a message of this record looks like.

    Args:
        forms: of the tensors in each field; a field that is not named has none.
        specs: of figures, and of facts that this run declares otherwise.
        without: fields that this run does not have.
    """
    layout = layout_of(form)
    facts = {name: specs.get(name, spec) for name, spec in layout.facts.items() if name not in without}
    if layout.figures is not None:
        facts |= {name: spec for name, spec in specs.items() if "." in name}
    found = {
        f"{group.prefix}{inner}": replace(spec, reveals=group.reveals)
        for name, group in layout.groups.items()
        if name not in without
        for inner, spec in forms.get(name, {}).items()
    }
    return MessageSpec(tensors=found, facts=facts)


def flat(measured: Figures) -> dict[str, Fact]:
    """Return figures by PART.NAME."""
    return {f"{part}.{name}": value for part, found in measured.items() for name, value in found.items()}


def facts_of(record: Record, *, but: Iterable[str] = ()) -> dict[str, Fact]:
    """Return the facts that a record has, by name, without its figures: a row of a table."""
    names = layout_of(type(record)).facts.keys() - set(but)
    return {
        name: value for name in layout_of(type(record)).facts if name in names and (value := getattr(record, name)) is not None
    }


def _joined(found: Iterable[Tensors]) -> dict[str, Tensor]:
    return {name: value for tensors in found for name, value in tensors.items()}


def _groups(message: Message, layout: _Layout) -> dict[str, Any]:
    """Return the tensors of a message by the fields that they belong to."""
    others = {name: group.prefix for name, group in layout.groups.items() if group.prefix}
    if layout.rest is not None and not others and not layout.named:
        return {layout.rest: message.tensors}
    values: dict[str, Any] = {name: {} for name in layout.groups if not layout.groups[name].alone}
    rest: set[str] = set()
    for name in message.tensors:
        owner = layout.named.get(name) or next((field for field, prefix in others.items() if name.startswith(prefix)), None)
        if owner is None:
            rest.add(name)
            continue
        group = layout.groups[owner]
        if group.alone:
            values[owner] = message.tensors[name]
        else:
            _put(values[owner], name.removeprefix(group.prefix), message.tensors[name], nested=group.nested)
    if rest and layout.rest is None:
        raise OffManifest(f"message {message.kind!r} has a tensor {min(rest)!r} that it has no field for")
    if layout.rest is not None:
        whole = len(rest) == len(message.tensors)
        values[layout.rest] = message.tensors if whole else pick(message.tensors, rest.__contains__)
    return values


def _put(values: dict[str, Any], name: str, tensor: Tensor, *, nested: bool) -> None:
    """Put a tensor into its field by its name there; in a nested one, what stands before the first slash is the key."""
    if nested:
        key, _, inner = name.partition("/")
        values.setdefault(key, {})[inner] = tensor
    else:
        values[name] = tensor
