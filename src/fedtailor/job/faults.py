"""What is wrong with a job, said in one paragraph: what was found, what was expected, where, and what to try."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from .other_names import kind_here, name_here

Path = tuple[str | int, ...]
OTHERS_KIND = ("type", "name", "method", "algorithm")  # what other tools write for our kind
MOST_FAULTS = 4  # named at once; the rest are counted
WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "tuple_type": "a list",
    "list_type": "a list",
    "mapping_type": "a mapping of names to values",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of settings",
    "model_attributes_type": "a mapping of settings",
    "none_required": "null",
    "string_pattern_mismatch": "auto, cpu, cuda, cuda:N or mps",  # the device is all that has a pattern
}


def explain(errors: Sequence[ErrorDetails], raw: object, known: Sequence[str]) -> str:
    """Return one paragraph on all faults.

    Args:
        errors: as pydantic lists them.
        raw: what was read.
        known: every setting that there is, dotted, so that a wrong name can be answered with the nearest right one.
    """
    faults: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        faults.setdefault(place_of(error, raw), []).append(error)
    sentences = [sentence(place, group, known) for place, group in faults.items()]
    more = len(sentences) - MOST_FAULTS
    return " ".join(sentences[:MOST_FAULTS]) + (f" And {more} more like these." if more > 0 else "")


def place_of(error: ErrorDetails, raw: object) -> Path:
    """Return the keys that lead to the fault in what was read; the marks that pydantic adds for choices are left out."""
    place: list[str | int] = []
    here: Any = raw
    for key in error["loc"]:
        in_list = isinstance(here, list | tuple) and isinstance(key, int) and key < len(here)
        if in_list or (isinstance(here, Mapping) and key in here):
            here = here[key]
        elif error["type"] != "missing" or key != error["loc"][-1]:
            continue
        place.append(key)
    return tuple(place)


def sentence(place: Path, errors: Sequence[ErrorDetails], known: Sequence[str]) -> str:  # noqa: PLR0911 - one for each sort of fault
    """Return what is wrong at one place, and what would be right."""
    name, first = dotted(place), errors[0]
    context: dict[str, Any] = first.get("ctx") or {}
    match first["type"]:
        case "extra_forbidden":
            return unknown(place, known)
        case "missing":
            return f"{name} is missing.{hint_for_missing(name)}"
        case "setting":
            return _own_words(name, context["text"], context["fields"])
        case "kind":
            wrong, right = context["kind"], sorted(context["known"])
            near = nearest(wrong, right)
            tip = (
                f"{kind_here(wrong)}."
                if kind_here(wrong)
                else f"did you mean {near}?"
                if near
                else f"there is {listed(right) or 'none yet'}, or a class of yours as package.module:Class."
            )
            return f"{name} is {short(wrong)}, which is no {context['what']}; {tip}"
        case "no_kind":
            return f"{name} has no kind; write {name}: {{kind: NAME, ...}}."
        case "import":
            return (
                f'{name} names the class {context["name"]!r}, which cannot be used: {context["reason"]}; write "package.module:Class" '
                "for a dataclass in a module that Python finds here (the current folder and PYTHONPATH are searched)."
            )
        case "own":
            return " ".join(
                sentence((*place, *place_of(e, context["raw"])), [e], [f"{name}.{f}" for f in context["fields"]])
                for e in context["errors"]
            )
        case "value_error" | "assertion_error":
            return f"{name}: {first['msg']}" if name else first["msg"]
    wanted = [_wanted(e) for e in errors]
    return f"{name or 'the job'} must be {' or '.join(dict.fromkeys(wanted))}; got {short(first['input'])}."


def _wanted(error: ErrorDetails) -> str:
    """Return what would be right in the place of a value of another type, or out of bounds."""
    if error["type"] == "float_type" and isinstance(error["input"], int) and not isinstance(error["input"], bool):
        return "a number below 1e18"  # larger than any float
    return WANTED.get(error["type"]) or _bound(error) or error["msg"][:1].lower() + error["msg"][1:]


def unknown(place: Path, known: Sequence[str]) -> str:
    """Return that a setting does not exist, with the nearest one: beside it, or elsewhere under the same name."""
    name, parent, key = dotted(place), dotted(place[:-1]), str(place[-1])
    beside = [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == parent]
    if key in OTHERS_KIND and "kind" in beside:
        return f"{name} is not a setting; the name of the {parent.rpartition('.')[2]} is {parent}.kind."
    if here := name_here(key):
        return f"{name} is a name of other tools and not a setting; {here}."
    near = nearest(key, beside)
    if near:
        return f"{name} is not a setting; did you mean {f'{parent}.{near}' if parent else near}?"
    wide = [
        k for k in known if not f".{name}".endswith(f".{k}") and not k.endswith(".kind")
    ]  # else an override of one client would be sent back to the job's setting
    elsewhere = [k for k in wide if k.rpartition(".")[2] == key] or [
        k for k in wide if k.rpartition(".")[2] == nearest(key, [k.rpartition(".")[2] for k in wide], 0.75)
    ]
    if elsewhere:
        sections = {k.split(".")[0]: k for k in reversed(elsewhere)}  # the first of each: kinds of one section share names
        return f"{name} is not a setting; did you mean {listed(sorted(sections.values(), key=elsewhere.index)[:2], 'or')}?"
    return f"{name} is not a setting; {parent or 'a job'} has {listed(sorted(set(beside) - {'kind'})) or 'no settings'}."


def nearest(word: str, words: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the word that is most like `word`, or None if none is like it."""
    found = difflib.get_close_matches(word, list(words), n=1, cutoff=likeness)
    return found[0] if found else None


def known_settings(model: type[BaseModel], chosen: object, prefix: str = "") -> Iterator[str]:
    """Yield every dotted setting that `model` and the models within it have; of several kinds, the one that is chosen."""
    for name, info in model.model_fields.items():
        yield f"{prefix}{name}"
        inner = chosen.get(name) if isinstance(chosen, Mapping) else None
        kind = inner.get("kind") if isinstance(inner, Mapping) else inner if isinstance(inner, str) else None
        models = [
            m for part in (info.annotation, *(getattr(meta, "type", None) for meta in info.metadata)) for m in _models(part)
        ]
        matching = [m for m in models if kind is not None and "kind" in m.model_fields and m.model_fields["kind"].default == kind]
        inside = [(name, inner)]
        if isinstance(inner, Mapping) and get_origin(info.annotation) is Mapping:  # keys of the user's own: names of clients
            inside = [(f"{name}.{key}", value) for key, value in inner.items()]
        for section in matching or models:
            for place, value in inside:
                yield from known_settings(section, value, f"{prefix}{place}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def dotted(place: Path) -> str:
    """Return keys as a person writes them: tuning.rank."""
    return ".".join(str(key) for key in place)


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return words as a list in a sentence: a, b and c."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def short(value: object, most: int = 60) -> str:
    """Return a value as text of at most `most` characters."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def number_text(value: object) -> str:
    """Return a bound as a person writes it; other values as they are."""
    if not isinstance(value, int | float):
        return str(value)
    return f"{int(value):,}" if value == int(value) and abs(value) < 1e15 else f"{value:g}"


def hint_for_missing(name: str) -> str:
    """Return how to write one of the settings that every job needs."""
    examples = {
        "backbone": " Write backbone: smollm2-135m, or a folder, a GGUF file, a hub id.",
        "task": " Write task: {kind: generation}, or language-modeling, classification.",
        "protocol.public": " Write public: FILE, with the task's columns, or public: rest for the training rows that data.limit.train leaves out.",
        "data": " Write data: {train: FILE}, or data: {train: docstrings} for text that is already on this machine.",
    }
    return examples.get(name, "")


def _bound(error: ErrorDetails) -> str | None:
    """Return what a choice or a range expects, or None if the error is about something else."""
    context = error.get("ctx") or {}
    words = {"expected": "", "ge": "at least ", "gt": "above ", "le": "at most ", "lt": "below "}
    return next((f"{word}{number_text(context[key])}" for key, word in words.items() if key in context), None)


def _own_words(name: str, text: str, fields: Sequence[str]) -> str:
    starts = text.replace(".", " ").replace(",", " ").replace(":", " ").split(maxsplit=1)
    joined = f"{name}.{text}" if starts and starts[0] in fields else f"{name}: {text}"
    return (joined if name else text).rstrip(".") + ("" if text.endswith("?") else ".")
