"""Prompting: the server proposes prompts, clients score them on examples of their own; only prompts and sums of scores travel."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ...errors import SettingError
from ...learning.local import LocalTraining
from ...limits import Few
from .method import Method
from .search import Search


@dataclass(frozen=True, kw_only=True)
class Prompting:
    """Prompts go down, sums of scores come up; no weight is trained."""

    kind: Literal["prompting"] = "prompting"
    method: Method = field(default_factory=Search)
    few: Few = 4  # least examples that a client's sum may be over; a client that has fewer scores nothing
    quorum: float = 0.5  # least share of the asked clients whose answers make a rung

    local: ClassVar[LocalTraining] = LocalTraining(learning_rate=1.0, head_learning_rate=None)  # of no use: nothing is trained
    aggregation: ClassVar[None] = None  # scores are added up, whatever they are

    def __post_init__(self) -> None:
        if not 0 < self.quorum <= 1:
            raise SettingError(f"quorum is a share of the asked clients, in (0, 1]; got {self.quorum}")
        if self.few < 1:
            raise SettingError(f"few is a number of examples, at least 1; got {self.few}")
        name, fewest = self.method.fewest
        if fewest < self.few:
            raise SettingError(
                f"method.{name} is {fewest}, below few: {self.few}; a score would be over fewer examples than a sum may be"
            )
