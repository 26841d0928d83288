"""The mean of what all clients have, kept up to date by what those who take part have changed.

Source: ours, for personalization that needs the mean of all clients' own weights (FedALT). The mean of N clients' weights w_k moves by
(1 / N) sum of the changes of those that answered, so one running sum is all that is kept, and it stays right under partial participation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from ..errors import EmptyRound, SettingError
from ..interfaces import RuleTraits
from ..records import Outcome, Update
from ..tensors import Tensors, add_scaled_, clone
from .stateless import Stateless


@dataclass(frozen=True, kw_only=True)
class RunningMean(Stateless):
    """Add to the mean of all clients' weights one N-th of each change; weights of clients have no part in it."""

    clients: int  # N, all that may take part
    traits: ClassVar[RuleTraits] = RuleTraits(linear=True, counts_clients=True)

    def __post_init__(self) -> None:
        if self.clients < 1:
            raise SettingError(f"clients is how many may take part, at least 1; got {self.clients}")

    @property
    def kind(self) -> str:
        """The name by which messages to users call it."""
        return "running-mean"

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + sum(delta) / N.

        Raises:
            EmptyRound: if no client answered.
        """
        total, answered = clone(params), False
        for update in updates:
            add_scaled_(total, update.delta, 1 / self.clients)
            answered = True
            del update  # else its tensors would stay until the next one is here
        if not answered:
            raise EmptyRound("no client sent a usable update in this round; see events.jsonl for the reason of each")
        return Outcome(shared=total, state=state)
