"""Settings of training that a client does for itself alone, and how they become the settings of the one training loop."""

import math
from dataclasses import replace

from ..errors import SettingError
from ..learning.local import LocalTraining


def own_local(
    local: LocalTraining, *, epochs: float | None = None, steps: int | None = None, learning_rate: float | None = None
) -> LocalTraining:
    """Return `local` with its length and learning rate replaced where they are given; the optimizer starts fresh each time."""
    length = {"epochs": epochs, "steps": None} if epochs is not None else {"steps": steps} if steps is not None else {}
    rate = {} if learning_rate is None else {"learning_rate": learning_rate}
    return replace(local, **length, **rate, keep_optimizer=False)  # type: ignore[arg-type]


def check_own(**settings: float | None) -> None:
    """Raise SettingError, naming the setting, unless each is left out or a number above 0; of epochs and steps one may be given."""
    for name, value in settings.items():
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise SettingError(f"{name} must be a number above 0, or null for that of protocol.local; got {value}")
    lengths = [name for name in settings if name.endswith(("epochs", "steps")) and settings[name] is not None]
    if len(lengths) > 1:
        raise SettingError(f"{lengths[0]} and {lengths[1]} both say how long to train; keep one of them")
