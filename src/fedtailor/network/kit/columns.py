"""Which columns of a site's data a job may read: the task's own fields, and what the owner mapped besides."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from string import Formatter
from typing import Any

from ...records import Example

NAMING = ("by", "column", "columns")  # settings whose texts are names of columns


def extra_columns(columns: Mapping[str, str], own: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that an owner mapped to another column beyond the task's `own` fields, in order."""
    from ...data.columns import (
        MESSAGES,  # here and below: torch comes with it, and a site's launcher, which reads the site's file too, has none
    )

    return tuple(name for name, column in columns.items() if name not in own and name not in (MESSAGES, column))


def column_refusals(job: Mapping[str, Any], columns: Mapping[str, str]) -> list[str]:
    """Return a sentence for each setting of a job that names a column which its site has not mapped; empty if there is none.

    Args:
        job: all its settings as plain values.
        columns: the task's or any other name -> column of the site's data.
    """
    from ...data.columns import MESSAGES
    from ...tasks import TASKS  # here, as it loads what trains

    task = job["task"]
    cls: Any = TASKS.get(task["kind"])
    own = () if cls is None else (*cls.required, *cls.optional)
    partition = job.get("clients", {}).get("partition")
    named = [*_named(task, "task"), *_named(partition, "clients.partition")]
    return [
        f"{setting} names the column {name!r}, which this site has not mapped; its owner can: fedtailor site join KIT --column {name}=COLUMN"
        for setting, name in named
        if name not in (*own, *columns, MESSAGES)
    ]


def with_columns(examples: list[Example], names: Collection[str], mapped: Collection[str]) -> list[Example]:
    """Return the examples with these fields alone: what the owner did not map is there for no setting, however it names it.

    Args:
        mapped: those of extra columns, whose empty cells are texts without a letter, as those of other columns are.
    """
    there = {name for example in examples for name in example.fields}
    blank = {name: "" for name in mapped if name in there}
    return [
        replace(example, fields=blank | {name: value for name, value in example.fields.items() if name in names})
        for example in examples
    ]


def _named(settings: object, place: str) -> Iterator[tuple[str, str]]:
    """Yield each setting that names a column, however deep, with the column."""
    if not isinstance(settings, Mapping):
        return
    for key, value in settings.items():
        here = f"{place}.{key}"
        texts = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
        if key.endswith("template"):
            yield from ((here, name) for text in texts if isinstance(text, str) for name in _places(text))
        elif key in NAMING:
            yield from ((here, text.partition("[")[0]) for text in texts if isinstance(text, str))
        yield from _named(value, here)


def _places(template: str) -> list[str]:
    """Return the names in braces of a template; one whose braces do not match has none, and is refused as a job."""
    try:
        return [name for _, name, _, _ in Formatter().parse(template) if name]
    except ValueError:
        return []
