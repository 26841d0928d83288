"""What is measured of a model on a set of examples, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from ..errors import SettingError
from ..limits import BatchSize, Length, Rounds
from ..metrics import Bleu, OwnMetric
from ..metrics.features import Features, NoFeatures, check_features, features_at
from ..metrics.own import check_own
from .images.settings import Samples
from .losses import Losses, OfRows, Progress, sum_losses
from .shard import Shard
from .text.generate import Decoding


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is measured, how often, and how texts are generated for it."""

    every: Rounds = 1  # rounds from one evaluation to the next; before round 1 and at the end there always is one
    metrics: Sequence[str | OwnMetric] | None = (
        None  # None: the task's own choice; the loss is always there; classes of your own too
    )
    generate: Decoding = field(default_factory=Decoding)
    generate_at: Literal["ends", "always"] = "ends"  # texts and pictures before round 1 and at the end, or at every evaluation
    samples: Samples = field(default_factory=Samples)  # pictures that are made
    features: Features = field(default_factory=NoFeatures)  # that pictures are compared by: none, cifar, or a class of your own
    bleu: Bleu = field(default_factory=Bleu)
    batch_size: BatchSize = 16  # examples at a time for the loss
    local_only: bool = False  # with personalization: each client also trains alone for as many rounds, a column to compare with
    class_counts: bool = True  # counts of a client's classes go with its macro-F1, else there is none over all clients
    local_gain: bool = False  # what a round's local training gains on each client's validation part, in rounds that are evaluated
    retained: str | None = None  # a file of general text: its loss before and after says what customization forgets
    retained_tokens: Length = 8192  # most tokens of that text that are measured, from its beginning

    def __post_init__(self) -> None:
        for name in ("every", "batch_size", "retained_tokens"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"{name} is a whole number, at least 1; got {value!r}")
        if self.generate_at not in ("ends", "always"):
            raise SettingError(f"generate_at is ends or always; got {self.generate_at!r}")
        if self.metrics is not None:
            if isinstance(self.metrics, str):
                raise SettingError(f"metrics is a list of names, such as [loss, bleu]; got the text {self.metrics!r}")
            object.__setattr__(self, "metrics", tuple(self.metrics))
        check_features(self.features, [metric for metric in self.metrics or () if isinstance(metric, str)])
        names = [check_own(metric).name for metric in self.metrics or () if not isinstance(metric, str)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise SettingError(
                f"metrics names two classes whose figures are both called {twice!r}; give one of them another name"
            )

    def at(self, base: Path) -> Self:
        """Return the same with files that are looked for from `base` on.

        Raises:
            SettingError: if one is not there.
        """
        return replace(self, features=features_at(self.features, base))

    @property
    def own_metrics(self) -> list[OwnMetric]:
        """The metrics of the user's own."""
        return [metric for metric in self.metrics or () if not isinstance(metric, str)]

    @property
    def directions(self) -> dict[str, bool]:
        """Whether more is better, for each metric of the user's own."""
        return {metric.name: metric.higher_is_better for metric in self.own_metrics}

    @property
    def no_means(self) -> list[str]:
        """Metrics of the user's own that cannot be had over several clients."""
        return [metric.name for metric in self.own_metrics if not metric.is_mean]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The figures of one set of examples, and the texts that were generated for them."""

    figures: Mapping[str, float]  # numbers only; empty for an empty set
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)  # that metrics are made of which are no means
    texts: Sequence[Mapping[str, object]] = ()  # input, references, text; one for each distinct prompt
    notes: Mapping[str, object] = field(default_factory=dict)  # more on the pictures that were made, for a JSON file
    bleu_signature: str | None = None
    losses: Losses | None = None  # that the figures follow from


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What one measurement of a set is for, beside what the job asks of all."""

    generate: bool = False  # texts are written and pictures made, if a metric needs them
    train: Any = (
        None  # the shard that a client has trained on, whose own the set is; None: the set is a public one, at the server
    )
    known: Losses | None = (
        None  # the sums of the loss over these rows under these weights, where they are known: no pass is needed then
    )
    sampled: bool = False  # the loss over the rows of `sample_of` is wanted besides
    sample_alone: bool = False  # these are the only rows whose loss is measured
    texts_alone: bool = False  # the figures of the loss are left out
    progress: Progress | None = None  # called with how many examples are measured, then how many texts are written

    def sums(self, shard: Shard, of_rows: OfRows, *, batch_size: BatchSize) -> Losses:
        """Return the sums of the loss over the rows of `shard` that this measurement is of; see `sum_losses`."""
        return sum_losses(
            shard, of_rows, batch_size=batch_size, progress=self.progress, sampled=self.sampled, sample_alone=self.sample_alone
        )
