"""How pictures are made of noise."""

from dataclasses import dataclass

from ...errors import SettingError
from ...limits import BatchSize, Number, Steps


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How pictures are made."""

    steps: Steps = 20  # from noise to a picture; a generator needs one, whatever stands here
    guidance: Number = 1.0  # how far beyond the answer without a label, 1: not at all; larger: more typical, less varied
    batch: BatchSize = 125  # pictures at a time
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"{name} is a whole number, at least 1; got {value!r}")
        if isinstance(self.guidance, bool) or not 0 <= self.guidance < float("inf"):
            raise SettingError(f"guidance is a number, at least 0; got {self.guidance!r}; 1 to 5 are usual")
