"""Distillation: clients and server teach each other by what they say of public examples; weights stay where they are.

Source: arXiv:2501.04436, KD-FedLLMs, of which we had the abstract and the steps: clients tune on their own examples, compute logits on a
public set and send them; the server aggregates, distils into its own model, and sends its logits back; clients align to them by CE and
KL; repeat. Our own reading: a round is one exchange, so a client aligns to the logits of the round before at the beginning of the next; after the
last round each aligns once more. FedMD (arXiv:1910.03581) sends the clients' consensus back in place of the server's own logits: `back: consensus`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ...aggregation.logits import LogitAggregation, Mean
from ...errors import SettingError
from ...interfaces import traits_of
from ...learning.distil import Fitting
from ...learning.local import LocalTraining
from ...learning.worker import Worker
from ...limits import Count, Length, Number, Rounds
from ...messages.wires.logits import LogitsWire
from ...pairs import Need
from ...tasks import Scores
from ..usual_settings import UsualSettings, one_task

REST = "rest"  # of the training rows: those that data.limit leaves out


@dataclass(frozen=True, kw_only=True)
class Distillation(UsualSettings):
    """Clients tune models of their own and report what these say of public examples; the server's model learns from all, and they from it."""

    needs: ClassVar[Sequence[Need]] = (one_task("its public examples are of one task"),)
    gives: ClassVar[Mapping[str, bool | str]] = {
        "one-model": "where each client has a model of its own already",
        "updates": False,
        "any-model": "whose logits are of classes or tokens",
    }
    own_models: ClassVar[bool] = True
    kind: Literal["distillation"] = "distillation"
    public: (
        object  # the public examples: a file, a list of files, a hub id, or rest (training rows that data.limit.train leaves out)
    )
    public_limit: Count | None = None  # most public examples, drawn by the seed; null: all
    slice: float = 1.0  # share of the public examples that a round is about, drawn again each round; in (0, 1]
    aggregation: LogitAggregation = field(default_factory=Mean)
    back: Literal["server", "consensus"] = (
        "server"  # what clients align to: the server's own logits, or what the aggregation made of theirs
    )
    temperature: Number = 2.0  # T of both softmaxes in KL
    weight: Number = (
        0.5  # share of KL in the loss on public examples, in [0, 1]; the rest is CE on their labels. 1: labels are not used
    )
    wire: Literal["float32", "float16", "int8"] = "float16"  # form of logits in messages; int8 has one scale a row
    top_k: Length | None = None  # send the likeliest entries of each row alone, and the mass of the rest; null: whole rows
    local: LocalTraining = field(default_factory=LocalTraining)
    align: Fitting = field(default_factory=Fitting)  # of a client to the logits that came down
    distil: Fitting = field(default_factory=Fitting)  # of the server to the aggregated logits
    quorum: float = 0.5  # least share of the asked clients whose logits make a round
    public_fit: bool = (
        True  # each client reports one number: how well a classifier distinguishes its examples from the public ones
    )
    label_counts: bool = False  # clients report how many of their training examples have each label
    label_epsilon: Number | None = None  # privacy spent by reporting label counts, with geometric noise; null: no noise
    refine: Literal["label-statistics"] | None = (
        None  # draw the public rows that fit the clients best, by what they report; null: evenly
    )
    refine_every: Rounds = 5  # rounds from one such draw to the next

    def __post_init__(self) -> None:
        check_source(self.public)
        if self.public_limit is not None and self.public_limit < 1:
            raise SettingError(f"public_limit is a number of examples, at least 1, or null for all; got {self.public_limit}")
        for name, value in (("slice", self.slice), ("quorum", self.quorum)):
            if not 0 < value <= 1:
                raise SettingError(f"{name} is a share, in (0, 1]; got {value}")
        if not self.temperature > 0:
            raise SettingError(f"temperature must be above 0; got {self.temperature}; 1 to 4 are usual")
        if not 0 <= self.weight <= 1:
            raise SettingError(f"weight is the share of KL in the loss, in [0, 1]; got {self.weight}")
        if self.top_k is not None and self.top_k < 1:
            raise SettingError(f"top_k is a number of entries, at least 1, or null for whole rows; got {self.top_k}")
        if self.label_epsilon is not None and not self.label_epsilon > 0:
            raise SettingError(f"label_epsilon must be above 0, or null for no noise; got {self.label_epsilon}; 1 is usual")
        if self.label_epsilon is not None and not self.label_counts:
            raise SettingError(
                "label_epsilon puts noise on label counts, which are not reported; set label_counts: true, or leave it out"
            )
        check_refinement(self)
        if traits_of(self.aggregation).needs_weights and self.back == "consensus":
            raise SettingError(
                f"back: consensus does not go with aggregation: {self.aggregation.kind}, whose clients get the server's weights and no "
                "logits; leave back out, or choose aggregation: {kind: mean}"
            )
        if traits_of(self.aggregation).needs_label_counts and not self.label_counts:
            raise SettingError(
                f"aggregation {self.aggregation.kind} needs the clients' label counts; let them be reported by label_counts: true "
                "(with noise: label_epsilon: 1), or choose aggregation: {kind: entropy-weights}"
            )

    @property
    def reveals(self) -> Collection[str]:
        """How well its rows are distinguished from public ones, or each public row from its own; and counts of labels, noised or not."""
        fit, counts = self.public_fit or self.refine is not None, self.label_counts
        return [word for word, revealed in (("public-fit", fit), ("label-counts", counts)) if revealed]

    @property
    def apart(self) -> bool:
        """Whether nobody's weights meet another's: with a rule that needs weights, they do."""
        return not traits_of(self.aggregation).needs_weights

    @property
    def class_counts(self) -> bool:
        """Whether clients report counts of their labels as they are; else metrics come without them."""
        return self.label_counts and self.label_epsilon is None

    @property
    def public_examples(self) -> tuple[object, int | None]:
        """The source of the public examples, and how many of them are taken at most."""
        return self.public, self.public_limit

    def for_sites(self, plain: Mapping[str, Any], *, sent: str) -> Mapping[str, Any]:
        """Return the settings without the name of a file: public examples come with messages."""
        return {**plain, "public": sent}

    def scores_in(self, round: int) -> bool:
        """Return whether clients score the public rows in `round` (from 1), from which those of the rounds after it are drawn."""
        return self.refine is not None and (round - 1) % self.refine_every == 0

    def wire_for(self, classes: int) -> LogitsWire:
        """Return the form of logits over so many classes or tokens.

        Raises:
            SettingError: if top_k leaves nothing out.
        """
        if self.top_k is not None and self.top_k >= classes:
            raise SettingError(
                f"protocol.top_k: {self.top_k} is no part of the {classes:,} entries of a row; lower it, or leave it out to send whole rows"
            )
        return LogitsWire(dtype=self.wire, classes=classes, top_k=self.top_k, temperature=self.temperature)

    def check_task(self, worker: Worker) -> None:
        """Raise SettingError if the task does not go with these settings."""
        task = worker.task
        kind = getattr(task, "kind", type(task).__name__)
        if not isinstance(task, Scores):
            raise SettingError(
                f"protocol: distillation does not go with task: {kind}, which gives no logits: it has no method `scores`; "
                "choose classification, generation or language-modeling"
            )
        if self.refine and task.labels_of(()) and self.label_epsilon is None:
            raise SettingError(
                f"protocol.refine: {self.refine} draws from noised label counts, which are not reported; set label_counts: true and "
                "label_epsilon: 1 (or another), or leave refine out"
            )
        if self.label_counts and not task.labels_of(()):
            raise SettingError(
                f"protocol.label_counts does not go with task: {kind}, which has no labels to count; leave it out"
                + (", and choose aggregation: {kind: entropy-weights}" if traits_of(self.aggregation).needs_label_counts else "")
            )


def check_refinement(settings: Distillation) -> None:
    """Raise SettingError unless the draw of public rows can be refined as asked for."""
    if settings.refine_every < 1:
        raise SettingError(f"refine_every is a number of rounds, at least 1; got {settings.refine_every}")
    if settings.refine and settings.slice == 1:
        raise SettingError(
            "refine chooses the slice of the public examples that rounds are about, and slice: 1.0 leaves nothing to choose; set slice: 0.5"
        )


def check_source(source: object) -> None:
    """Raise SettingError unless `source` can name public examples."""
    texts: Sequence[object] = source if isinstance(source, list | tuple) else [source]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise SettingError(
            f"public names the public examples: a file with the task's columns, a list of files, a hub id, or {REST} for the training rows "
            f"that data.limit.train leaves out; got {source!r}"
        )
