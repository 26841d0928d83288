"""The text of a job file: YAML read and written by the rules of YAML 1.2, and `a.b=value` on top of it.

PyYAML follows YAML 1.1, where 1e-3 is text, `no` is false and 12:30 is a number. Labels and learning rates suffer. Only
true, false, null and numbers are special here; a key that is written twice is an error, and so is a text that unfolds into more
than a person writes: by nesting, by aliases, or by tags.
"""

import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from .errors import SettingError
from .text_files import MOST_DIGITS, read_text

MOST_DEPTH = 20  # mappings and lists within each other
MOST_VALUES = 100_000  # keys and values in one text, each alias counted as what it stands for

RULES = {
    "tag:yaml.org,2002:bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "tag:yaml.org,2002:int": (r"^[-+]?[0-9]+$", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf)$|^\.(?:nan|NaN)$",
        "-+.0123456789",
    ),
    "tag:yaml.org,2002:null": (r"^(?:~|null|Null|NULL|)$", "~nN\0"),
}
CORE_TAGS = {"!", *(f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq"))}


class Reader(yaml.SafeLoader):
    """Reads YAML 1.2 within bounds; refuses a key that is written twice."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = 0  # so far, with what aliases stand for
        self._open: list[tuple[str | None, int]] = []  # of each mapping and list that has not ended: its anchor, values before it
        self._anchored: dict[str, int] = {}  # values under each anchor

    def get_event(self) -> yaml.Event:
        """Return the next event of the text, counted."""
        event: yaml.Event = super().get_event()  # type: ignore[no-untyped-call]
        self._count(event)
        return event

    def _count(self, event: yaml.Event) -> None:
        if (
            isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
            and event.tag is not None
            and event.tag not in CORE_TAGS
        ):
            raise _fault(event, f"the tag {event.tag[:60]!r} is not read here; write the value without a tag")
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self._open.pop()
            if anchor is not None:
                self._anchored[anchor] = self._values - before
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in self._open):
                raise _fault(event, f"the alias *{str(event.anchor)[:60]} stands inside what it names")
            self._values += self._anchored.get(str(event.anchor), 1)
        elif isinstance(event, yaml.NodeEvent):
            self._values += 1
            if isinstance(event, yaml.CollectionStartEvent):
                self._open.append((event.anchor, self._values - 1))
        if isinstance(event, yaml.ScalarEvent) and any("\ud800" <= sign <= "\udfff" for sign in event.value):
            raise _fault(event, "half a pair of surrogates is no character, and no text may hold it")
        if len(self._open) > MOST_DEPTH:
            raise _fault(event, f"this is nested more than {MOST_DEPTH} deep")
        if self._values > MOST_VALUES:
            raise _fault(event, f"the text stands for more than {MOST_VALUES:,} values, aliases counted as what they stand for")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping whose keys are all different.

        Raises:
            MarkedYAMLError: if a key is written twice, or is the merge key.
        """
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value == "<<":
                    raise _fault(key, "the merge key << of YAML 1.1 is not read here; write the keys themselves")
                if key.value in seen:
                    raise _fault(key, f"the key {key.value[:60]!r} is written twice; leave one of them out")
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def construct_whole(self, node: yaml.ScalarNode) -> int:
        """Return a whole number.

        Raises:
            MarkedYAMLError: if it has more digits than any setting.
        """
        text = str(node.value)
        if len(text) > MOST_DIGITS:
            raise _fault(node, f"a number of {len(text):,} digits ({text[:20]}...) is larger than any setting")
        return int(text)


def _fault(at: Any, problem: str) -> yaml.MarkedYAMLError:
    """Return the fault of an event or a node."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


class Writer(yaml.SafeDumper):
    """Writes what `Reader` reads back."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: object) -> bool:
        """Return True: a value that occurs twice is written twice."""
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Return a text on one line: in double quotes where it has line ends."""
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if "\n" in data else None)

    def represent_list(self, data: Iterable[Any]) -> yaml.SequenceNode:
        """Return a list: on one line where it holds plain values alone."""
        return self.represent_sequence(
            "tag:yaml.org,2002:seq", data, flow_style=not any(isinstance(v, dict | list) for v in data)
        )


Writer.add_representer(str, Writer.represent_str)
Writer.add_representer(list, Writer.represent_list)
for _tag, (_pattern, _first) in RULES.items():
    for _side in (Reader, Writer):
        _side.add_implicit_resolver(_tag, re.compile(_pattern), ["" if c == "\0" else c for c in _first])
Reader.add_constructor("tag:yaml.org,2002:int", Reader.construct_whole)


def read_yaml_file(path: Path, what: str, tip: str = "") -> Any:
    """Return what a YAML file says.

    Args:
        what: whose file it is, as in "the job file".
        tip: what to do if there is no such file.

    Raises:
        SettingError: if it is missing, no regular file, too large, no text, or not YAML.
    """
    return read_yaml(read_text(path, what, tip=tip), str(path))


def read_yaml(text: str, where: str) -> Any:
    """Return what the text says.

    Raises:
        SettingError: if the text is not YAML; `where` says whose text it is.
    """
    try:
        reader = Reader(text)
        try:
            return reader.get_single_data()
        finally:
            reader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        problem = str(error.problem or error.context)
        raise SettingError(f"{where}{line}: this is not YAML that can be read: {problem}{_remedy(problem)}.") from None
    except yaml.reader.ReaderError as error:
        place = f"{where}, line {text.count(chr(10), 0, error.position) + 1}"
        raise SettingError(
            f"{place}: this is not YAML that can be read: it holds the sign {int(error.character):#06x}, which no YAML text may; "
            "remove it."
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingError(f"{where}: this is not YAML that can be read: {' '.join(str(error).split())[:200]}.") from None


def _remedy(problem: str) -> str:
    """Return what to try, where our own words do not say it already."""
    if "'\\t'" in problem:
        return "; a tab is no indentation in YAML: indent with spaces"
    own = ("written twice", "not read here", "nested more", "stands for", "stands inside", "larger than", "surrogates")
    return "" if any(words in problem for words in own) else "; check the indentation, and quote text that holds : { } [ ] or #"


def write_yaml(value: object) -> str:
    """Return `value` as YAML in blocks, keys in their order."""
    return yaml.dump(value, Dumper=Writer, sort_keys=False, allow_unicode=True, width=120)


def apply_override(raw: Mapping[str, Any], text: str) -> Any:
    """Return the settings with one `a.b=value` put in; the value is read as YAML.

    Raises:
        SettingError: if the text has no `=`, or leads into something that has no keys.
    """
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"\w[\w-]*(?:\.[\w-]+)*", name.strip()):
        raise SettingError(f"{text!r} is not an override; write section.setting=value, such as tuning.rank=16 or stop.rounds=3.")
    return put(raw, name.strip().split("."), read_yaml(value, f"the override {text!r}"))


def put(raw: Any, keys: Iterable[str], value: object, done: str = "") -> Any:
    """Return a copy of nested mappings and lists with `value` at the end of `keys`; sections on the way are made if needed.

    Raises:
        SettingError: if the way leads through something that has no keys.
    """
    key, *rest = keys
    here = f"{done}.{key}" if done else key
    if isinstance(raw, list) and key.isdigit() and int(key) < len(raw):
        return [put(item, rest, value, here) if rest else value if place == int(key) else item for place, item in enumerate(raw)]
    if isinstance(raw, str) and done:  # a technique by its bare name
        raw = {"kind": raw}
    if raw is not None and not isinstance(raw, Mapping):
        raise SettingError(f"{here} cannot be set: {done} is {raw!r}, which has no setting of the name {key}.")
    old = dict(raw or {})
    return old | {key: put(old.get(key), rest, value, here) if rest else value}


def example_job() -> str:
    """Return a job file with a comment on every setting that most people touch."""
    return files("fedtailor").joinpath("example_job.yaml").read_text(encoding="utf-8")
