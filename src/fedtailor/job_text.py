"""The text of a job file: YAML read and written by the rules of YAML 1.2, and `a.b=value` on top of it.

PyYAML follows YAML 1.1, where 1e-3 is text, `no` is false and 12:30 is a number. Labels and learning rates suffer. Only
true, false, null and numbers are special here; a key that is written twice is an error.
"""

import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

import yaml

from .errors import SettingError

RULES = {
    "tag:yaml.org,2002:bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "tag:yaml.org,2002:int": (r"^[-+]?[0-9]+$", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf)$|^\.(?:nan|NaN)$",
        "-+.0123456789",
    ),
    "tag:yaml.org,2002:null": (r"^(?:~|null|Null|NULL|)$", "~nN\0"),
}


class Reader(yaml.SafeLoader):
    """Reads YAML 1.2; refuses a key that is written twice."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.MarkedYAMLError(problem=f"the key {twice!r} is written twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep=deep)


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
Reader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(str(node.value)))


def read_yaml(text: str, where: str) -> Any:
    """Return what the text says.

    Raises:
        SettingError: if the text is not YAML; `where` says whose text it is.
    """
    try:
        return yaml.load(text, Loader=Reader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise SettingError(
            f"{where}{line}: this is not YAML that can be read: {error.problem or error.context}; "
            "check the indentation, and quote text that holds : { } [ ] or #."
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise SettingError(f"{where}: this is not YAML that can be read: {' '.join(str(error).split())}.") from None


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
