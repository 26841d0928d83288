"""Rows that nobody is given: repeated ones, those over the limit, and those of owners that are left out; each is counted."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from ..chance import stream
from ..errors import DataError
from ..records import TOOLS, ClientId, Example
from .columns import MESSAGES
from .faults import SHOWN
from .partition import Partition
from .partition.natural import named_sizes

OVER_LIMIT = "over the limit"  # the reason for which the job itself leaves examples out
REPEATED = "duplicates"


def owners(partition: Partition, examples: Sequence[Example]) -> list[str] | None:
    """Return the name of each example's owner, if the data name them."""
    named = getattr(partition, "owners", None)
    found: list[str] | None = named(examples) if named else None
    return found


def with_owners(examples: list[Example], partition: Partition, missing: str, dropped: dict[str, int]) -> list[Example]:
    """Return the examples whose owner has a name; others are counted if `missing` is drop, as a slot of a text may lack it.

    Raises:
        DataError: naming the first five, if it is not.
    """
    whose = owners(partition, examples)
    nobodys = [example for example, owner in zip(examples, whose or (), strict=whose is not None) if not owner.strip()]
    if not nobodys:
        return examples
    column = getattr(partition, "by", "")
    if missing != "drop":
        some = ", ".join(f"{example.id} ({example.place})" for example in nobodys[:SHOWN])
        raise DataError(
            f"{len(nobodys):,} of {len(examples):,} training examples have no value in {column!r}, which clients.partition takes the clients from: "
            f"{some}{', ...' if len(nobodys) > SHOWN else ''}; name another column, or set data.missing: drop, which leaves them out and counts them"
        )
    dropped[f"rows without a value in column {column!r}"] = len(nobodys)
    return [example for example, owner in zip(examples, whose or (), strict=True) if owner.strip()]


def distinct(
    examples: Sequence[Example], required: Sequence[str], whose: Sequence[str] | None, dropped: dict[str, int]
) -> list[Example]:
    """Return the examples without those that agree with an earlier one of the same owner in all that the task trains on, and count these."""
    first: dict[tuple[str, ...], Example] = {}
    for example, owner in zip(examples, whose or [""] * len(examples), strict=True):
        first.setdefault((owner, *(str(example.fields[name]) for name in required), *_talk(example)), example)
    if len(first) < len(examples):
        dropped[REPEATED] = len(examples) - len(first)
    return list(first.values())


def _talk(example: Example) -> list[str]:
    """Return what a conversation has beside its input and target: who said what, and which tools may be called; nothing if it is none."""
    talk = example.fields if MESSAGES in example.fields else {}
    return [json.dumps(_without_nulls(talk[name]), sort_keys=True, default=str) for name in (MESSAGES, *TOOLS) if talk.get(name)]


def _without_nulls(value: object) -> object:
    """Return a value without the nulls that files of columns put where a mapping lacks what others have."""
    if isinstance(value, Mapping):
        return {str(name): _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list | tuple) else value


def repeats(dropped: Mapping[str, int], rows: int) -> str:
    """Return the beginning of an error about too few examples: how many were left out before."""
    repeated = dropped.get(REPEATED, 0)
    said = [f"{repeated:,} of {rows:,} rows repeat an earlier one, and count once"] if repeated else []
    said += [f"{number:,} {reason} are left out" for reason, number in dropped.items() if reason.startswith("rows without")]
    return "".join(f"{part}; " for part in said)


def count_left_out(
    partition: Partition, train: Sequence[Example], rows: Mapping[ClientId, Sequence[int]], least: int, dropped: dict[str, int]
) -> None:
    """Count the examples that nobody has, and name their owners where the data do."""
    dealt = {row for own in rows.values() for row in own}
    left = [row for row in range(len(train)) if row not in dealt]
    if not left:
        return
    whose = owners(partition, train)
    if whose is None:
        dropped["in clients that were left out"] = len(left)
        return
    sizes = Counter(whose[row] for row in left)
    small = {name: size for name, size in sizes.items() if size < least}
    others = {name: size for name, size in sizes.items() if size >= least}
    if small:
        have = "1 client has" if len(small) == 1 else f"{len(small)} clients have"
        dropped[f"{have} fewer than clients.min_examples = {least} ({named_sizes(small)})"] = sum(small.values())
    if others:
        are = "1 client is" if len(others) == 1 else f"{len(others)} clients are"
        dropped[f"{are} smaller than the largest that clients.count takes ({named_sizes(others)})"] = sum(others.values())


def limited(
    examples: list[Example],
    most: int | None,
    seed: int,
    part: str,
    dropped: dict[str, int] | None = None,
    *,
    running: bool = False,
) -> list[Example]:
    """Return at most `most` of the examples, drawn by the seed, in the order they had; of running text a stretch."""
    if most is None or most >= len(examples):
        return examples
    if dropped is not None:
        dropped[OVER_LIMIT] = len(examples) - most
    draw = stream(seed, f"limit-{part}")
    if running:
        begin = int(draw.integers(len(examples) - most + 1))
        return examples[begin : begin + most]
    kept = draw.choice(len(examples), size=most, replace=False)
    return [examples[row] for row in sorted(kept.tolist())]
