"""The data of a job, divided among clients and parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..chance import stream
from ..errors import DataError, SettingError
from ..records import ClientId, Example
from .columns import Reads, wanted_columns
from .divergence import mean_divergence
from .left_out import count_left_out, distinct, limited, owners, repeats, with_owners
from .load import Loaded
from .partition import Partition
from .partition.base import Embed, label_groups
from .parts import given_parts, load_parts, partition_of
from .settings import PARTS, Clients, Data
from .split import split_by_input, split_running

if TYPE_CHECKING:
    import pandas as pd

Examples = Mapping[ClientId, list[Example]]


@dataclass(frozen=True, kw_only=True)
class Divided:
    """Who owns which examples, and what they are for."""

    train: Examples
    validation: Examples  # of each client; empty lists if the server has a validation file
    test: Examples  # of each client: its own held-out part; empty where its inputs are all trained on elsewhere
    server_validation: list[Example]  # the public file, or nothing
    server_test: list[Example]
    table: "pd.DataFrame"  # columns example, client, part, and group, if there is one: a row per training example
    divergence: float | None  # mean over pairs of clients of the Jensen-Shannon divergence, in bits: 0 alike, 1 disjoint
    divergence_over: str  # the column or clusters it is taken over; empty if there is none
    dropped: Mapping[str, int]  # training examples that nobody has, by reason
    rest: Sequence[Example] = ()  # training rows that the limit leaves out: nobody's
    retained: Sequence[Example] = ()  # general text, that nobody trains on
    overlap: Mapping[str, int] = field(default_factory=dict)  # inputs of a public file that also stand in the training data
    elsewhere: frozenset[ClientId] = frozenset()  # clients whose examples are on other machines: they have none here
    notes: Sequence[str] = ()  # what somebody who gave the data should know
    public: Sequence[Example] | None = None  # that everybody speaks of, loaded already; None: the protocol says where they are

    def may_have(self, part: Literal["validation", "test"]) -> bool:
        """Whether clients have examples of their own for a part, as far as is known here."""
        return bool(self.elsewhere) or any(getattr(self, part).values())


def divide(
    data: Data,
    clients: Clients,
    *,
    base: Path,
    seed: int,
    given: object | None = None,
    embed: Embed | None = None,
    key: str = "input",
    **reads: Any,
) -> Divided:
    """Load the data of a job and divide them: duplicates go first, then the limit is drawn, then clients and parts are.

    Where the data themselves name the owners (a partition with `owners`), each owner's rows are treated as if nobody else had any, as on a
    network. Running text is never deduplicated; limits and parts are stretches of it.

    Args:
        data: where the examples are.
        clients: how they are divided; counts and shares.
        base: folder that relative paths start from.
        seed: of all draws.
        given: data in memory in place of `data.train`, or a mapping with keys train, validation and test. A mapping with other keys is one
            from names of clients to their examples, and makes these clients.
        embed: turns texts into vectors [N, dimensions]; only partitions by topic need it.
        key: the field by which parts are divided: no two parts share a value of it, within a client and, where chance makes the clients, across them.
        reads: what the task reads, the fields of `Reads`; examples that agree in all required fields are duplicates.

    Raises:
        DataError: if data are missing, unfit, or too few for these clients.
        SettingError: if settings do not fit the data.
    """
    task = Reads(**reads)
    running, parts = task.is_running, given_parts(given)
    partition = partition_of(clients.partition, parts.get("train"), whole=task.whole)
    loaded = load_parts(data, parts, ("train",), base, wanted_columns(data, task, partition))
    loaded |= load_parts(data, parts, ("validation", "test"), base, wanted_columns(data, task, public=True))
    dropped = dict(loaded["train"].dropped)
    everything = with_owners(loaded["train"].examples, partition, data.missing, dropped)
    whose = owners(partition, everything)
    once = everything if running or task.whole else distinct(everything, task.required, whose, dropped)
    train = limited(once, data.limit.get("train"), seed, "train", dropped, running=running)
    remembered = _remembering(embed)
    try:
        least = 1 if task.whole else clients.min_examples
        rows = partition.divide(train, clients.count, stream(seed, "partition"), least, remembered)
        _check_partition(rows, len(train))
        _check_clients(clients, list(rows))
        shares = {"validation": 0.0 if loaded["validation"].examples else clients.validation_share, "test": clients.test_share}
        shares = dict.fromkeys(shares, 0.0) if task.whole else shares
        owned = {name: [train[row] for row in own] for name, own in rows.items()}
        sides = split_running(owned, shares) if running else split_by_input(owned, shares, key, seed, apart=whose is not None)
    except DataError as error:
        raise DataError(f"{repeats(dropped, len(everything))}{error}") from None
    count_left_out(partition, train, rows, least, dropped)
    groups = _groups(partition, train, seed, remembered)
    public = {part: limited(loaded[part].examples, data.limit.get(part), seed, part, running=running) for part in PARTS[1:]}
    return Divided(
        train=sides["train"],
        validation=sides["validation"],
        test=sides["test"],
        server_validation=public["validation"],
        server_test=public["test"],
        table=_table(sides, {example.id: group for example, group in zip(train, groups[1], strict=True)} if groups else {}),
        divergence=mean_divergence(groups[1], list(rows.values())) if groups else None,
        divergence_over=groups[0] if groups else "",
        dropped=dropped,
        rest=_others(once, train),
        overlap={} if running else _overlap(train, {part: loaded[part].examples for part in ("validation", "test")}, key),
        notes=_notes(loaded, sides, key, apart=whose is not None and not running),
    )


def _notes(loaded: Mapping[str, Loaded], sides: Mapping[str, Examples], key: str, *, apart: bool) -> list[str]:
    """Return what else somebody should know: what was recognized in the files, and inputs that clients share across parts."""
    notes = list(dict.fromkeys(note for part in loaded.values() for note in part.notes))
    for part, found in loaded.items():
        notes += [
            f"{number:,} {reason} of the {part} file are left out" for reason, number in found.dropped.items() if part != "train"
        ]
    if apart:
        trained = {str(e.fields.get(key)) for own in sides["train"].values() for e in own}
        shared = sum(str(e.fields.get(key)) in trained for own in sides["test"].values() for e in own)
        if shared:
            notes.append(
                f"{shared:,} test examples of clients have an input that another client trains on, as each divides its own rows"
            )
    return notes


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


def _groups(partition: Partition, train: Sequence[Example], seed: int, embed: Embed | None) -> tuple[str, list[str]] | None:
    """Return by what the divergence of clients is taken, and its value for each example; drawn as the partition drew, so that clusters are the same."""
    own = getattr(partition, "groups", None)  # a partition of the user's may do without
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


def _table(sides: Mapping[str, Examples], groups: Mapping[str, str]) -> "pd.DataFrame":
    import pandas as pd

    rows = [(example.id, client, part) for client in sides["train"] for part in PARTS for example in sides[part][client]]
    table = pd.DataFrame(rows, columns=["example", "client", "part"])
    return table.assign(group=[groups.get(name, "") for name in table["example"]]) if groups else table


def _overlap(train: Sequence[Example], loaded: Mapping[str, Sequence[Example]], key: str) -> dict[str, int]:
    known = {example.fields.get(key) for example in train if example.fields.get(key)}
    found = {part: len({e.fields.get(key) for e in loaded[part]} & known) for part in ("validation", "test")}
    return {part: count for part, count in found.items() if count}
