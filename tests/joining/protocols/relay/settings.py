"""Settings of a relay."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ...learning.local import LocalTraining
from ..usual_settings import UsualSettings


@dataclass(frozen=True, kw_only=True)
class Relay(UsualSettings):
    """Each client trains what the one before it has trained; a round passes by all."""

    in_checkpoint: ClassVar[bool] = True
    gives: ClassVar = {"updates": "which passes weights on"}
    kind: Literal["relay"] = "relay"
    local: LocalTraining = field(default_factory=LocalTraining)
