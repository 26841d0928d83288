"""The parts of a job's data: training, validation and test examples, from files or from memory."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DataError, SettingError
from ..records import Example
from .columns import Reads, Wanted, wanted_columns
from .left_out import limited
from .load import Loaded, load
from .partition import Files, Iid, Natural, Partition
from .settings import PARTS, Data


def load_public_parts(data: Data, *, base: Path, seed: int, **reads: Any) -> dict[str, list[Example]]:
    """Return the public examples of a job alone, of validation and test, as `divide` returns them at the server; see there."""
    task = Reads(**reads)
    loaded = load_parts(data, {}, ("validation", "test"), base, wanted_columns(data, task, public=True))
    return {
        part: limited(found.examples, data.limit.get(part), seed, part, running=task.is_running) for part, found in loaded.items()
    }


def load_parts(data: Data, given: Mapping[str, object], names: Sequence[str], base: Path, wanted: Wanted) -> dict[str, Loaded]:
    """Return the examples of the named parts; those of `given` take the place of what `data` names."""
    loaded = {part: Loaded() for part in names}
    for part in names:
        source, in_memory = getattr(data, part), given.get(part)
        if source is not None or in_memory is not None:
            loaded[part] = load(
                source,
                wanted,
                base=base,
                part=part,
                given=in_memory,
                packages=data.packages,
                package_limit=data.package_limit,
            )
            loaded[part] = _only(loaded[part], data.only, part)
            _check_texts(loaded[part].examples, wanted.required, part)
    return loaded


def _only(found: Loaded, wanted: Mapping[str, Sequence[object]], part: str) -> Loaded:
    """Return the examples that have one of the wanted values in each of some columns; the others are counted.

    Raises:
        SettingError: if the task does not read such a column, or no example has any of its values.
    """
    examples, dropped = found.examples, dict(found.dropped)
    for column, values in wanted.items():
        if missing := next((example for example in examples if column not in example.fields), None):
            raise SettingError(
                f"data.only names {column!r}, and data.{part} has {', '.join(missing.fields)}; name a column that the task reads"
            )
        named = {str(value) for value in values}
        kept = [example for example in examples if str(example.fields[column]) in named]
        if examples and not kept:
            have = sorted({str(example.fields[column]) for example in examples})[:10]
            raise SettingError(
                f"data.only keeps none of data.{part}: {column} is one of {', '.join(have)}, none of {', '.join(sorted(named))}"
            )
        dropped[f"rows that data.only leaves out by {column}"] = len(examples) - len(kept)
        examples = kept
    return replace(found, examples=examples, dropped={reason: count for reason, count in dropped.items() if count})


def given_parts(given: object | None) -> Mapping[str, object]:
    """Return data in memory by part.

    Raises:
        DataError: if a mapping has names of parts and others.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping) and set(given) & set(PARTS):
        surplus = sorted(str(part) for part in set(given) - set(PARTS))
        if surplus or "train" not in given:
            raise DataError(
                f"data in memory has the parts {', '.join(map(str, given))}; expected train, and if you like validation and test"
                + (f": leave {', '.join(surplus)} out" if surplus else "")
                + "; if these are names of clients, pass {'train': data}"
            )
        return given
    return {"train": given}


def partition_of(partition: Partition, given: object, *, whole: bool) -> Partition:
    """Return the job's partition; a mapping from names of clients to examples makes these clients, and rows that stay whole are all dealt.

    Raises:
        SettingError: if the job divides the data in another way.
    """
    if not isinstance(given, Mapping) or isinstance(partition, Files):
        return replace(partition, deal=True) if whole and isinstance(partition, Natural) else partition
    if partition != Iid():  # which is also what stands for nothing chosen
        raise SettingError(
            f"data in memory is a mapping of {len(given)} names of clients to their examples, and clients.partition divides them in another way; "
            "leave clients.partition out to have these clients, or pass one table of all rows"
        )
    return Files()


def _check_texts(examples: Sequence[Example], required: Sequence[str], part: str) -> None:
    """Raise DataError if a part that was asked for has nothing in it: a test on nothing would look like one that was passed."""
    if not any(str(example.fields[name]).strip() for example in examples for name in required):
        what = f"has {len(examples)} examples, all of them blank" if examples else "has no examples"
        raise DataError(f"data.{part} {what}; give a file with at least one that says something, or leave {part} out")
