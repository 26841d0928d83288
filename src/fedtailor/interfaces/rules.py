"""What rules of aggregation promise."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..pairs import Need
from ..records import Outcome, Update
from ..tensors import Tensors


class Aggregation(Protocol):
    """The rule that turns updates into one step."""

    def init(self, params: Tensors) -> Tensors:
        """Return the state before the first round.

        Raises:
            SettingError: if the rule does not fit these tensors; a run then ends before anything is done.
        """

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return which tensors clients train in `round`, counted from 1; they send the deltas of these and of no others."""

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Turn one round's updates into the next shared tensors and state; arguments are left as they were."""


NEEDS_OF_CARRYING = (
    Need(
        word="factors",
        why="it carries LoRA factors beside the trained ones",
        remedy="choose tuning: lora, or aggregation: fedavg, which takes any tuning",
    ),
    Need(
        word="shared-adapter",
        why="what it carries beside the trained factors belongs to those that all share",
        remedy="choose personalization: finetune, or aggregation: lora-fair",
    ),
)
ONE_RANK = Need(
    word="one-rank",
    why="it needs one rank and alpha for all",
    remedy="choose aggregation: flexlora, raflora or flora, or give all clients one rank",
)
NEEDS_OF_REFACTORING = (
    Need(
        word="no-pull",
        why="it refactors the shared adapter each round, and a pull of a client's own factors towards other factors of the same product leads nowhere",
        remedy="choose aggregation: fedavg, lora-fair or fedrot-lora, or personalization: finetune",
    ),
)


@dataclass(frozen=True, kw_only=True)
class RuleTraits:
    """What a rule of aggregation, of updates or of logits, needs or does beside the usual, as its attribute `traits`; a rule without one has these."""

    linear: bool = False  # a weighted sum of updates is all that it needs, so that it may run under secure aggregation
    plain_mean: bool = False  # it is the weighted mean and no more, and whoever has a rule of his own may take its place
    counts_clients: bool = False  # clients receive the number of clients
    control: bool = False
    """It corrects local gradients by control variates, which travel beside the weights (SCAFFOLD).

    Its state is the server's, named and shaped as the shared tensors. Clients answer in `Update.extra` with the change of their own, divided by
    the number of all clients, under the same names.
    """
    any_ranks: bool = False
    """Clients may train LoRA of different ranks.

    The factors of an update are then of its client's rank, [out, rank] and [rank, in]; they are what the client changed in the first columns
    and rows of the shared factors, in the scale alpha / rank of these.
    """
    refactors: bool = False
    """It refactors the shared LoRA each round.

    The same product then comes as other factors: what somebody kept of an earlier round (weights of their own, moments of an optimizer) cannot
    be set against the factors of this one.
    """
    carry: int = 0
    """The rank of a frozen factor that is carried beside LoRA, as the result exceeds the rank of the trained one; 0: none.

    The shared tensors then hold, beside the factors under training, MODULE.carried_A.weight [carry, in] and MODULE.carried_B.weight
    [out, carry], which start at zero and count with scale 1. They travel down only.
    """
    summed: bool = False  # each update that it gets is the mean of all, as no single one is known
    any_answers: bool = False  # a round counts however few answered, and is not tried again: under differential privacy both would reveal something of clients
    takes_turns: bool = False  # which tensors are trained depends on the round
    alike: bool = False  # all clients count alike, whatever weights they have
    least: int = 1  # updates of a round that it can work on
    needs_weights: bool = False  # of logits: clients send their weights too, and start each round from the server's
    needs_label_counts: bool = False  # of logits: clients report how many of their examples have each label

    @property
    def gives(self) -> Mapping[str, bool | str]:
        """See `pairs`. Who counts clients keeps of each what it sent last, or its control variate: more than a sum."""
        return {
            "sums": (self.linear and not self.counts_clients) or "which needs more than the sum of all updates",
            "plain-mean": self.plain_mean,
            "no-control": not self.control,
            "same-factors": not self.refactors,
            "same-tensors": not self.takes_turns or "which trains other tensors in each round",
        }

    @property
    def needs(self) -> Sequence[Need]:
        """See `pairs`."""
        return (
            *(NEEDS_OF_CARRYING if self.carry else ()),
            *(NEEDS_OF_REFACTORING if self.refactors else ()),
            *(() if self.any_ranks else (ONE_RANK,)),
        )


def traits_of(rule: object) -> RuleTraits:
    """Return the traits of a rule; those of one that names none, as a user's own may, are the defaults."""
    traits: RuleTraits = getattr(rule, "traits", RuleTraits())
    return traits


class RobustRule(Aggregation, Protocol):
    """A rule that stands some updates that are anything."""

    @property
    def traits(self) -> RuleTraits:
        """With `least`, the fewest updates among which it stands as many hostile ones as it was made for."""
