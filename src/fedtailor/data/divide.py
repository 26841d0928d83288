"""The data of a job, divided among clients and parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..chance import stream
from ..errors import DataError, SettingError
from ..records import ClientId, Example
from .divergence import mean_divergence
from .load import load_examples
from .partition.base import Embed, label_groups
from .settings import PARTS, Clients, Data
from .split import split_by_input

if TYPE_CHECKING:
    import pandas as pd

Examples = Mapping[ClientId, list[Example]]
OVER_LIMIT = "over the limit"  # the reason for which the job itself leaves examples out


@dataclass(frozen=True, kw_only=True)
class Divided:
    """Who owns which examples, and what they are for."""

    train: Examples
    validation: Examples  # of each client; empty lists if the server has a validation file
    test: Examples  # of each client: its own held-out part; empty where its inputs are all trained on elsewhere
    server_validation: list[Example]  # the public file, or nothing
    server_test: list[Example]
    table: "pd.DataFrame"  # columns example, client, part: a row per training example
    divergence: float | None  # mean over pairs of clients of the Jensen-Shannon divergence, in bits: 0 alike, 1 disjoint
    divergence_over: str  # the column or clusters it is taken over; empty if there is none
    dropped: Mapping[str, int]  # training examples that nobody has, by reason
    rest: Sequence[Example] = ()  # training rows that the limit leaves out: nobody's
    overlap: Mapping[str, int] = field(default_factory=dict)  # inputs of a public file that also stand in the training data
    elsewhere: frozenset[ClientId] = frozenset()  # clients whose examples are on other machines: they have none here
    public: Sequence[Example] | None = None  # that everybody speaks of, loaded already; None: the protocol says where they are

    def may_have(self, part: Literal["validation", "test"]) -> bool:
        """Whether clients have examples of their own for a part, as far as is known here."""
        return bool(self.elsewhere) or any(getattr(self, part).values())


def divide(
    data: Data,
    clients: Clients,
    *,
    required: Sequence[str],
    optional: Sequence[str],
    base: Path,
    seed: int,
    given: object | None = None,
    embed: Embed | None = None,
    key: str = "input",
) -> Divided:
    """Load the data of a job and divide them: duplicates go first, then the limit is drawn, then clients and parts are.

    Args:
        data: where the examples are.
        clients: how they are divided; counts and shares.
        required: fields that the task must find; examples that agree in all of them are duplicates.
        optional: fields that the task takes where they are.
        base: folder that relative paths start from.
        seed: of all draws.
        given: data in memory in place of `data.train`, or a mapping with keys train, validation and test.
        embed: turns texts into vectors [N, dimensions]; only partitions by topic need it.
        key: the field by which parts are divided: no two parts share a value of it, within a client and across clients.

    Raises:
        DataError: if data are missing, unfit, or too few for these clients.
        SettingError: if settings do not fit the data.
    """
    loaded = _load(data, _given_parts(given), PARTS, required=required, optional=optional, base=base)
    train, dropped = _distinct(loaded["train"], required)
    distinct = train
    train = _limited(train, data.limit.get("train"), seed, "train", dropped)
    remembered = _remembering(embed)
    rows = clients.partition.divide(train, clients.count, stream(seed, "partition"), clients.min_examples, remembered)
    _check_partition(rows, len(train))
    _check_clients(clients, list(rows))
    left_out = len(train) - sum(map(len, rows.values()))
    if left_out:
        dropped["in clients that were left out"] = left_out
    has_file = bool(loaded["validation"])
    shares = {"validation": 0.0 if has_file else clients.validation_share, "test": clients.test_share}
    sides = split_by_input({name: [train[row] for row in own] for name, own in rows.items()}, shares, key, seed)
    # the same state of chance as above, so that clusters are the same
    groups = _groups(clients, train, seed, remembered)
    return Divided(
        train=sides["train"],
        validation=sides["validation"],
        test=sides["test"],
        server_validation=_limited(loaded["validation"], data.limit.get("validation"), seed, "validation"),
        server_test=_limited(loaded["test"], data.limit.get("test"), seed, "test"),
        table=_table(sides),
        divergence=mean_divergence(groups[1], list(rows.values())) if groups else None,
        divergence_over=groups[0] if groups else "",
        dropped=dropped,
        rest=_others(distinct, train),
        overlap=_overlap(train, loaded, key),
    )


def load_public_parts(
    data: Data, *, required: Sequence[str], optional: Sequence[str], base: Path, seed: int
) -> dict[str, list[Example]]:
    """Return the public examples of a job alone, of validation and test, as `divide` returns them at the server; see there."""
    names = ("validation", "test")
    loaded = _load(data, {}, names, required=required, optional=optional, base=base)
    return {part: _limited(loaded[part], data.limit.get(part), seed, part) for part in names}


def _load(
    data: Data, given: Mapping[str, object], names: Sequence[str], *, required: Sequence[str], optional: Sequence[str], base: Path
) -> dict[str, list[Example]]:
    """Return the examples of the named parts; those of `given` take the place of what `data` names."""
    loaded: dict[str, list[Example]] = {"validation": [], "test": []}
    for part in names:
        source, in_memory = getattr(data, part), given.get(part)
        if source is not None or in_memory is not None:
            loaded[part] = load_examples(
                source,
                columns=data.columns,
                required=required,
                optional=optional,
                base=base,
                part=part,
                given=in_memory,
                packages=data.packages,
                package_limit=data.package_limit,
            )
            _check_texts(loaded[part], required, part)
    return loaded


def _given_parts(given: object | None) -> Mapping[str, object]:
    if given is None:
        return {}
    if isinstance(given, Mapping) and set(given) & set(PARTS):
        surplus = sorted(str(part) for part in set(given) - set(PARTS))
        if surplus or "train" not in given:
            raise DataError(
                f"data in memory has the parts {', '.join(map(str, given))}; expected train, and if you like validation and test"
                + (f": leave {', '.join(surplus)} out" if surplus else "")
            )
        return given
    return {"train": given}


def _check_texts(examples: Sequence[Example], required: Sequence[str], part: str) -> None:
    """Raise DataError if a part that was asked for has nothing in it: a test on nothing would look like one that was passed."""
    if not any(str(example.fields[name]).strip() for example in examples for name in required):
        what = f"has {len(examples)} examples, all of them blank" if examples else "has no examples"
        raise DataError(f"data.{part} {what}; give a file with at least one that says something, or leave {part} out")


def _distinct(examples: Sequence[Example], required: Sequence[str]) -> tuple[list[Example], dict[str, int]]:
    """Return the examples without those that agree with an earlier one in all required fields, and how many those were."""
    first: dict[tuple[str, ...], Example] = {}
    for example in examples:
        first.setdefault(tuple(str(example.fields[name]) for name in required), example)
    duplicates = len(examples) - len(first)
    return list(first.values()), {"duplicates": duplicates} if duplicates else {}


def _limited(
    examples: list[Example], most: int | None, seed: int, part: str, dropped: dict[str, int] | None = None
) -> list[Example]:
    """Return at most `most` of the examples, drawn by the seed, in the order they had."""
    if most is None or most >= len(examples):
        return examples
    if dropped is not None:
        dropped[OVER_LIMIT] = len(examples) - most
    kept = stream(seed, f"limit-{part}").choice(len(examples), size=most, replace=False)
    return [examples[row] for row in sorted(kept.tolist())]


def _others(examples: Sequence[Example], chosen: Sequence[Example]) -> list[Example]:
    """Return those of the examples that were not chosen."""
    taken = set(map(id, chosen))
    return [example for example in examples if id(example) not in taken]


def _remembering(embed: Embed | None) -> Embed | None:
    """Return `embed` with a memory of its last call, since partition and divergence ask for the same."""
    if embed is None:
        return None
    last: list[tuple[tuple[str, ...], np.ndarray]] = []

    def remembered(texts: Sequence[str]) -> np.ndarray:
        asked = tuple(texts)
        if not last or last[0][0] != asked:
            last[:] = [(asked, embed(texts))]
        return last[0][1]

    return remembered


def _groups(clients: Clients, train: Sequence[Example], seed: int, embed: Embed | None) -> tuple[str, list[str]] | None:
    own = getattr(clients.partition, "groups", None)  # a partition of the user's may do without
    found: tuple[str, list[str]] | None = own(train, stream(seed, "partition"), embed) if own else label_groups(train)
    return found


def _check_partition(rows: Mapping[ClientId, Sequence[int]], examples: int) -> None:
    """Raise SettingError if a partition (the user's, then) deals a row twice or one that is not there, or nothing to a client."""
    dealt = [row for own in rows.values() for row in own]
    if not rows or not all(rows.values()) or len(set(dealt)) < len(dealt) or not all(0 <= row < examples for row in dealt):
        raise SettingError(
            f"clients.partition dealt {len(dealt)} rows, {len(set(dealt))} of them different, to {len(rows)} clients out of {examples} examples; "
            f"every row is numbered 0 to {examples - 1}, belongs to at most one client, and every client has at least one"
        )


def _check_clients(clients: Clients, names: Sequence[ClientId]) -> None:
    if clients.per_round is not None and clients.per_round > len(names):
        raise SettingError(
            f"clients.per_round asks for {clients.per_round} clients a round, but the data give {len(names)}; lower it"
        )


def _table(sides: Mapping[str, Examples]) -> "pd.DataFrame":
    import pandas as pd

    rows = [(example.id, client, part) for client in sides["train"] for part in PARTS for example in sides[part][client]]
    return pd.DataFrame(rows, columns=["example", "client", "part"])


def _overlap(train: Sequence[Example], loaded: Mapping[str, Sequence[Example]], key: str) -> dict[str, int]:
    known = {example.fields.get(key) for example in train if example.fields.get(key)}
    found = {part: len({e.fields.get(key) for e in loaded[part]} & known) for part in ("validation", "test")}
    return {part: count for part, count in found.items() if count}
