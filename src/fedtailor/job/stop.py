"""When a run ends."""

from dataclasses import dataclass
from typing import Literal

from ..errors import SettingError
from ..limits import Rounds


@dataclass(frozen=True, kw_only=True)
class Stop:
    """When a run ends, and which round it keeps."""

    rounds: Rounds = 10  # most rounds
    patience: Rounds | None = 3  # evaluations on the validation set without a better loss before the run ends; null: never
    keep: Literal["best", "last"] = "best"  # the round that becomes the result: least validation loss, or the last one

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise SettingError(f"rounds must be at least 1; got {self.rounds}")
        if self.patience is not None and self.patience < 1:
            raise SettingError(
                f"patience counts evaluations and must be at least 1, or null for no early stop; got {self.patience}"
            )
