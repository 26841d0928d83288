"""What a job says about its data and its clients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from ..errors import SettingError
from ..interfaces import NamedTask
from ..limits import ClientCount, Count, Few, Number, Width
from .partition.base import Partition
from .partition.iid import Iid

PARTS = ("train", "validation", "test")
PACKAGES = ("torch", "transformers", "numpy", "pandas", "scipy", "sklearn")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the examples are.

    A source is a path of a file or folder, a list of paths, a hub id (`owner/name`, `hub:name` or `hub:name:configuration`),
    or the built-in `docstrings`. Paths are relative to the job file.
    """

    train: object = "docstrings"  # a path, a list of paths, a hub id, or docstrings
    validation: object | None = None  # left out: a seeded share of each client's training part
    test: object | None = None  # a public set at the server; each client has its own held-out part as well
    columns: Mapping[str, str] = field(default_factory=dict)  # the task's name of a field -> column of the data
    missing: Literal["error", "drop"] = (
        "error"  # rows that lack a value the job needs: error, all are named; drop, they are left out and counted
    )
    limit: Mapping[str, int] = field(default_factory=dict)  # most examples of train, validation, test; drawn by the seed
    only: Mapping[str, Sequence[object]] = field(
        default_factory=dict
    )  # column the task reads -> values of the rows that are used, in every part, such as {label: [5, 6]}; left out: all rows
    packages: tuple[str, ...] = PACKAGES  # for docstrings: installed libraries, by the name they are imported under
    package_limit: Count | None = 1000  # for docstrings: most examples of one library; None reads all of them
    cache: bool = True  # keep tokenized parts of files in the user's cache, for the next start; see fedtailor cache

    def __post_init__(self) -> None:
        for part in PARTS:
            source = getattr(self, part)
            if source is not None or part == "train":
                _check_source(part, source)
        if self.missing not in ("error", "drop"):
            raise SettingError(
                f"missing is error or drop, got {self.missing!r}; drop leaves rows without a value out and counts them"
            )
        for part, most in self.limit.items():
            if part not in PARTS:
                raise SettingError(f"limit has keys train, validation and test, got {part!r}; write limit: {{train: 1000}}")
            if not _whole(most) or most < 1:
                raise SettingError(f"limit.{part} is a number of examples, at least 1, got {most!r}; leave it out to use all")
        _check_only(self.only)
        for name, column in self.columns.items():
            if not isinstance(column, str) or not column:
                raise SettingError(
                    f"columns.{name} is the name of a column of the data, got {column!r}; write columns: {{input: question}}"
                )
        if isinstance(self.packages, str) or not self.packages or not all(isinstance(p, str) for p in self.packages):
            raise SettingError(f"packages is a list of installed libraries such as [numpy, scipy], got {self.packages!r}")
        if len(set(self.packages)) < len(self.packages):
            raise SettingError(f"packages names a library twice: {', '.join(self.packages)}; name each once")
        if self.package_limit is not None and (not _whole(self.package_limit) or self.package_limit < 1):
            raise SettingError(f"package_limit is a number of examples, at least 1, or null for all, got {self.package_limit!r}")


@dataclass(frozen=True, kw_only=True)
class OwnTuning:
    """What one client's tuning differs in."""

    rank: Width | None = None  # of LoRA, at most tuning.rank
    alpha: Number | None = None  # of LoRA; left out: tuning.alpha

    def __post_init__(self) -> None:
        if self.rank is not None and (not _whole(self.rank) or self.rank < 1):
            raise SettingError(f"rank is a whole number from 1, got {self.rank!r}; at most tuning.rank")
        if self.alpha is not None and (not _number(self.alpha) or not 0 < self.alpha < float("inf")):
            raise SettingError(f"alpha is a number above 0, got {self.alpha!r}; leave it out for tuning.alpha")


@dataclass(frozen=True, kw_only=True)
class OwnProtocol:
    """What one client's protocol differs in."""

    cut: Few | None = None  # of split: blocks that the client holds; left out: protocol.cut

    def __post_init__(self) -> None:
        if self.cut is not None and (not _whole(self.cut) or self.cut < 1):
            raise SettingError(f"cut is the number of blocks that the client holds, at least 1, got {self.cut!r}")


@dataclass(frozen=True, kw_only=True)
class Override:
    """What one client differs in from the job."""

    backbone: str | None = None  # with protocol: distillation, a model of its own; left out: the job's
    task: NamedTask | None = None  # with partition: files, another task on the same kind of backbone; left out: the job's
    columns: Mapping[str, str] = field(
        default_factory=dict
    )  # of that task's fields in the client's own data, on top of data.columns
    tuning: OwnTuning = field(default_factory=OwnTuning)  # of LoRA: rank and alpha
    protocol: OwnProtocol = field(default_factory=OwnProtocol)  # of split: the cut


def _check_only(only: Mapping[str, Sequence[object]]) -> None:
    for name, values in only.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise SettingError(f"only.{name} is a list of values, got {values!r}; write only: {{{name}: [5, 6]}}")


@dataclass(frozen=True, kw_only=True)
class Clients:
    """Who owns which examples, and how many of the owners are asked in a round."""

    count: ClientCount | None = None  # None: as many as the partition finds in the data, else 10
    partition: Partition = field(default_factory=Iid)
    fraction: float = 1.0  # share of the clients asked in a round, in (0, 1]
    per_round: ClientCount | None = None  # clients asked in a round; takes the place of fraction
    select: Literal["uniform", "by-size", "stratified"] = "uniform"  # how the clients of a round are drawn
    min_examples: Count = 16  # random parts smaller than this are drawn again; natural clients smaller than this are left out
    most_examples: Count | None = None  # in one part of one client: a client that reports more is dropped; null: any number
    most_weight: float = 1.0  # largest share of one client in an average, in (0, 1]; 1: as large as its examples make it
    validation_share: float = 0.1  # of each client's examples; not used if data.validation is given
    test_share: float = 0.1  # each client's own held-out part
    failure_share: float = 0.0  # for simulation: share of the asked clients that fail in a round, drawn by the seed; in [0, 1)
    hostile_share: float = 0.0  # for simulation: share of all clients that send hostile updates in every round; in [0, 1)
    hostile: Literal["negative", "scaled", "noise"] = (
        "scaled"  # what they send: minus their update, -10 times it, or noise as long as it
    )
    overrides: Mapping[str, Override] = field(default_factory=dict)  # what single clients differ in, by id

    def __post_init__(self) -> None:
        for name in ("count", "per_round"):
            value = getattr(self, name)
            if value is not None and (not _whole(value) or value < 1):
                raise SettingError(f"{name} is a number of clients, at least 1, got {value!r}")
        if self.count is not None and self.per_round is not None and self.per_round > self.count:
            raise SettingError(f"per_round is at most count, got {self.per_round} of {self.count} clients; lower per_round")
        if not _number(self.fraction) or not 0 < self.fraction <= 1:
            raise SettingError(f"fraction is the share of the clients asked in a round, in (0, 1], got {self.fraction!r}")
        if self.select not in ("uniform", "by-size", "stratified"):
            raise SettingError(f"select is uniform, by-size or stratified, got {self.select!r}")
        if not _whole(self.min_examples) or self.min_examples < 1:
            raise SettingError(f"min_examples is a number of examples, at least 1, got {self.min_examples!r}")
        if self.most_examples is not None and (not _whole(self.most_examples) or self.most_examples < 1):
            raise SettingError(
                f"most_examples is a number of examples, at least 1, or null for any number, got {self.most_examples!r}"
            )
        if not _number(self.most_weight) or not 0 < self.most_weight <= 1:
            raise SettingError(
                f"most_weight is the largest share of one client in an average, in (0, 1], got {self.most_weight!r}"
            )
        for name, of in (
            ("validation_share", "each client's examples"),
            ("test_share", "each client's examples"),
            ("failure_share", "the asked clients"),
            ("hostile_share", "all clients"),
        ):
            value = getattr(self, name)
            if not _number(value) or not 0 <= value < 1:
                raise SettingError(f"{name} is a share of {of}, in [0, 1), got {value!r}")
        if self.validation_share + self.test_share >= 1:
            raise SettingError(
                f"validation_share and test_share leave nothing to train on: {self.validation_share} + {self.test_share}; "
                "together they must be below 1"
            )


def _check_source(part: str, source: object) -> None:
    texts = source if isinstance(source, list | tuple) else [source]
    if not texts or not all(isinstance(text, str | PurePath) and str(text) for text in texts):
        raise SettingError(
            f"{part} is a path, a list of paths, a hub id or docstrings, got {source!r}; "
            "data that are in memory go to run(job, data=...)"
        )
    if part != "train" and "docstrings" in texts:
        raise SettingError(
            f"{part} is docstrings, which only train can be; leave {part} out: each client keeps a share of its own aside"
        )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
