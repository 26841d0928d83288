"""What the settings of a protocol promise, and what holds of those that say nothing else."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

from ..errors import SettingError
from ..learning.local import LocalTraining
from ..pairs import Need
from ..records import ClientId
from ..tensors import Tensors


def one_task(why: str) -> Need:
    """Return the need of a protocol whose clients all have one task."""
    return Need(word="one-task", why=why, remedy="leave clients.overrides.ID.task out, or choose protocol: averaging")


class UsualSettings:
    """See `pairs` for what it gives and needs."""

    kind: Any
    local = LocalTraining(learning_rate=1.0, head_learning_rate=None)  # of no use where nothing is trained
    aggregation: Any = None  # the rule, if there is one
    weights: Any = "uniform"  # of clients, where what they send is averaged
    gives: ClassVar[Mapping[str, bool | str]] = {}
    needs: ClassVar[Sequence[Need]] = ()
    own_models: ClassVar[bool] = False  # whether each client has a model of its own, beside the server's
    reports: ClassVar[Mapping[str, str]] = {}
    """What its messages reveal of a client's data besides the usual (`messages.Own` in their specs), and what each such word means, for policies."""
    reveals_one_of: ClassVar[Sequence[str]] = ()  # words of policies of which every job of it needs at least one
    sums: ClassVar[Mapping[str, str]] = {}  # what clients sum over examples of their own, by the setting that bounds how few
    in_rounds: ClassVar[bool] = True  # whether a site bounds it by rounds; else clients bound it by questions
    usual: ClassVar[Mapping[str, str]] = {"tuning": "lora"}  # settings of a job that does not name them
    in_checkpoint: ClassVar[bool] = (
        False  # whether a checkpoint holds all trained weights, so that what they began with is not needed any more
    )

    @property
    def reveals(self) -> Collection[str]:
        """What of a client's data leaves it under these settings, as words of policies: a site that does not report one refuses the job."""
        return ()

    @property
    def apart(self) -> bool:
        """Whether nobody's weights meet another's, so that models and ranks may differ among clients as they like."""
        return False

    @property
    def dtype(self) -> str:
        """Of the weights in messages."""
        return "float32"

    @property
    def half_wire(self) -> str:
        """The value of the setting `wire` with which updates are half as long; empty where there is none."""
        return ""

    @property
    def class_counts(self) -> bool:
        """Whether evaluations may report counts of classes."""
        return True

    @property
    def public_examples(self) -> tuple[object, int | None] | None:
        """The source of examples that everybody speaks of, and how many of them are taken at most; None where there are none."""
        return None

    def sent(self, shared: Tensors, round: int) -> list[str]:
        """Return the names of the tensors that clients train and send in `round`, counted from 1."""
        return list(shared)

    def check(self, shared: Tensors, trained: Collection[str]) -> None:
        """Raise SettingError if the aggregation does not fit the exchanged tensors, or these not the names of the trained weights."""

    def check_cuts(self, cuts: Mapping[ClientId, int]) -> None:
        """Raise SettingError if some clients' models cannot be cut elsewhere than the job's."""
        for client, cut in cuts.items():
            raise SettingError(
                f"clients.overrides.{client}.protocol.cut is {cut}, and protocol: {self.kind} cuts no model; choose protocol: split, or leave it out"
            )

    def with_rule(self, rule: Any) -> Self:
        """Return the protocol with another rule of aggregation."""
        return replace(self, aggregation=rule)  # type: ignore[type-var]

    def inlined(self, base: Path) -> Mapping[str, Any]:
        """Return the settings that name files, by dotted name, with what the files hold in their place: for a server that has not the files.

        Args:
            base: that their paths are relative to.
        """
        return {}

    def for_sites(self, plain: Mapping[str, Any], *, sent: str) -> Mapping[str, Any]:
        """Return the settings as sites get them, without what is the server's own; `sent` stands for data that come with messages."""
        return plain
