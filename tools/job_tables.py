"""Write the tables of settings in docs/job.md again from the schema of a job, so that the page cannot age.

A pair of lines `<!-- settings: Lora -->` and `<!-- end -->` holds the table of one dataclass of settings; Job is the top level. A technique that
the page does not have yet gets such a pair behind the last of its kind, or at the end.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedtailor.job import Job

PAGE = Path(__file__).parents[1] / "docs" / "job.md"
BLOCK = re.compile(r"<!-- settings: (\w+) -->\n.*?<!-- end -->", re.S)
HIDDEN = ("base",)  # set by the place of the job file


def sections() -> dict[str, Mapping[str, Any]]:
    """Return the schema of the job and of every dataclass of settings in it, by name."""
    schema = Job.schema()
    return {"Job": schema, **schema["$defs"]}


def fill(text: str) -> str:
    """Return the page with every table as the code has it now."""
    known = sections()
    return BLOCK.sub(lambda match: f"<!-- settings: {match[1]} -->\n{table(known[match[1]], known)}\n<!-- end -->", text)


def placed(text: str) -> str:
    """Return the page with an empty block for every technique that it has none of, behind the last block of its kind, or at the end."""
    known = sections()
    for name in sorted(known.keys() - set(re.findall(r"<!-- settings: (\w+) -->", text))):
        beside = {match[1]: match.end() for match in BLOCK.finditer(text) if match[1] in _family(name, known)}
        title = f"**`{known[name]['properties']['kind']['const']}`**: {known[name]['description'].splitlines()[0]}"
        end = max(beside.values(), default=len(text.rstrip()))
        text = f"{text[:end]}\n\n{title}\n\n<!-- settings: {name} -->\n<!-- end -->{text[end:]}"
    return text


def _family(name: str, known: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the techniques that may stand wherever this one may."""
    found: set[str] = set()
    for choices in _choices(known):
        found |= choices if name in choices else set()
    return found


def _choices(value: object) -> Iterator[set[str]]:
    """Yield the names of the techniques of each choice in a schema."""
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    if isinstance(value, Mapping) and "oneOf" in value:
        yield {choice["$ref"].rsplit("/", 1)[1] for choice in value["oneOf"] if "$ref" in choice}
    for inner in inside:
        yield from _choices(inner)


def table(section: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one section as a Markdown table, a row for each setting; a technique without settings says so."""
    rows = list(_rows(section, known))
    if not rows:
        return "\nNo settings.\n"
    return "\n".join(["", "| setting | default | meaning |", "|---|---|---|", *rows, ""])


def _rows(section: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    required = section.get("required", ())
    for name, setting in section["properties"].items():
        if name == "kind" or name in HIDDEN:
            continue
        default = "*needed*" if name in required else _default(setting, known)
        yield f"| `{name}` | {default} | {_meaning(setting, known)} |"


def _default(setting: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> str:
    if "default" not in setting or "$ref" in setting:  # a section: its own table has the defaults
        kind = _kinds(setting, known)
        return f"`{kind[0]}`" if kind else ""
    value = setting["default"]
    return (
        f"`{value['kind']}`" if isinstance(value, dict) and "kind" in value and _as_it_is(value, known) else f"`{_plain(value)}`"
    )


def _as_it_is(value: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether a technique is given with the settings that it has by itself."""
    kinds = [
        found["properties"] for found in known.values() if found["properties"].get("kind", {}).get("const") == value.get("kind")
    ]
    return any(all(own.get(name, {}).get("default") == each for name, each in value.items() if name != "kind") for own in kinds)


def _meaning(setting: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> str:
    choices = [f"`{_plain(value)}`" for value in setting.get("enum", ())]
    note = re.sub(r"\bTrue\b", "true", setting.get("description", ""))
    parts = [" | ".join(choices), note, _pointer(setting, known)]
    return "; ".join(part for part in parts if part).replace("|", "\\|")


def _pointer(setting: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> str:
    kinds = _kinds(setting, known)
    if kinds:
        return "a kind: " + ", ".join(f"`{kind}`" for kind in kinds)
    return "a section of its own, below" if "$ref" in setting else ""


def _kinds(setting: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the public names of the techniques that may stand here."""
    choices = setting.get("oneOf", [setting])
    found = [known[choice["$ref"].rsplit("/", 1)[1]]["properties"].get("kind") for choice in choices if "$ref" in choice]
    return [kind["const"] for kind in found if kind and "const" in kind]


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) or "\n" in value or not value else value


def main() -> None:
    """Write the page again; with --check, fail if that would change it."""
    text = PAGE.read_text(encoding="utf-8")
    fresh = fill(placed(text))
    if "--check" in sys.argv:
        sys.exit(0 if fresh == text else "the tables in docs/job.md are not those of the code; run make tables")
    PAGE.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    main()
