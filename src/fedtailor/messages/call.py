"""Calls: the exchanges of a run, of which its manifest is made."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..records import Fact
from .length import length_of, usual_facts
from .manifest import Manifest
from .record import Forms, Record, Specs, layout_of, spec_of
from .specs import MessageSpec, TensorSpec, Trains


@dataclass(frozen=True, kw_only=True)
class Call:
    """One kind of request and the answers that it may get."""

    question: type[Record]
    answers: tuple[type[Record], ...]
    forms: Forms = field(default_factory=dict)  # of tensors, by field, of the question and of the answers
    specs: Specs = field(default_factory=dict)  # of figures, and of facts that are otherwise in this run
    without: frozenset[str] = frozenset()  # fields that this run does not have
    trains: Trains = "nothing"  # how it makes a client train, which a site counts against its bound of rounds
    sizes: Mapping[str, int] = field(default_factory=dict)  # upper bound of each size that its forms name

    def spec(self, form: type[Record]) -> MessageSpec:
        """Return what a message of one of its records looks like."""
        found = spec_of(form, self.forms, self.specs, self.without)
        if form is not self.question:
            return found
        kinds = tuple(answer.kind for answer in self.answers)
        return replace(found, trains=self.trains, answers=() if kinds == (form.kind,) else kinds)

    def lacking(self, names: Collection[str]) -> "Call":
        """Return the call of a run that does not have these fields."""
        return replace(self, without=self.without | frozenset(names))

    def for_several(self, common: Collection[str]) -> "Call":
        """Return the call of a run of several tasks: a figure needs no others but those that all tasks have, of PART.NAME the names `common`."""
        specs = {
            name: replace(spec, needs=tuple(need for need in spec.needs if need.partition(".")[2] in common))
            for name, spec in self.specs.items()
        }
        return replace(self, specs=specs)

    def shaped(self, shape: Callable[[str, TensorSpec], TensorSpec], sizes: Mapping[str, int]) -> "Call":
        """Return the call with tensors of other forms.

        Args:
            shape: gives the form of a tensor by its name in its field.
            sizes: upper bounds of what the new forms name.
        """
        forms = {group: {name: shape(name, spec) for name, spec in found.items()} for group, found in self.forms.items()}
        return replace(self, forms=forms, sizes={**self.sizes, **sizes})

    def sized(self, sizes: Mapping[str, int]) -> "Call":
        """Return the call with tensors whose named sizes are these numbers; others keep their names."""
        return self.shaped(lambda _, spec: replace(spec, shape=tuple(sizes.get(str(size), size) for size in spec.shape)), {})

    def length(self, form: type[Record], *, only: Collection[str] | None = None, **given: Fact | None) -> int:
        """Return the bytes of a message, estimated: those of an encoded one, but for the digits of numbers.

        Args:
            form: one of its records.
            only: names of the tensors in the message; None: all.
            given: facts by the names of its fields, in the place of numbers of usual length; None: absent. Lists are there only if they are given,
                and what this run does not have is left out.

        Raises:
            TypeError: if the record has no field of a name.
        """
        fields = layout_of(form)
        if unknown := [name for name in given if name not in fields.facts and (fields.figures is None or "." not in name)]:
            raise TypeError(f"{form.__name__} has no fact {unknown[0]!r}; it has {', '.join(fields.facts) or 'none'}")
        spec = self.spec(form)
        coded = {name: _of_payload(found, only) for name, found in spec.tensors.items() if found.coded}
        tensors = {
            name: coded.get(name, found) for name, found in spec.tensors.items() if name in coded or only is None or name in only
        }
        facts = {**usual_facts(spec.facts), **{name: value for name, value in given.items() if name in spec.facts}}
        return length_of(form.kind, tensors, {name: value for name, value in facts.items() if value is not None})

    def length_of(self, record: Record, *, only: Collection[str] | None = None) -> int:
        """Return the bytes of a message with the facts of a record, and tensors as `length` has them, whatever the record's are."""
        given = {name: getattr(record, name) for name in layout_of(type(record)).facts}
        return self.length(type(record), only=only, **given)


def _of_payload(spec: TensorSpec, only: Collection[str] | None) -> TensorSpec:
    """Return a payload's form with the bytes that it takes with some of its tensors."""
    sizes = [coded.size_bytes for name, coded in spec.coded.items() if only is None or name in only]
    return replace(spec, shape=(-(-len(spec.coded) // 8) + sum(sizes),))


def manifest_of(calls: Iterable[Call]) -> Manifest:
    """Return all that may be said in a run: each call's question down, its answers up."""
    up: dict[str, MessageSpec] = {}
    down: dict[str, MessageSpec] = {}
    sizes: dict[str, int] = {}
    for call in calls:
        down[call.question.kind] = call.spec(call.question)
        up |= {form.kind: call.spec(form) for form in call.answers}
        sizes |= call.sizes
    return Manifest(up=up, down=down, sizes=sizes)
