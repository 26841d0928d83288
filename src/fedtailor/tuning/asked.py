"""What others ask of a tuning that only some of them have; one of the user's own may lack it."""

from typing import Any

SIZES = ("rank", "length", "width")  # settings that the number of trained weights follows from


def ranks_of(tuning: object) -> tuple[int, ...]:
    """Return the ranks that the server chooses among before each round; empty if the rank is fixed."""
    return tuple(getattr(tuning, "ranks", ()))


def initial_of(tuning: object) -> Any:
    """Return where a tuning starts from, as the job names it; None if it starts from its own draw."""
    return getattr(tuning, "initial", None)


def takes_any_length(tuning: object) -> bool:
    """Return whether trained tensors may have another length than they began with, such as the text of a prompt."""
    return bool(getattr(tuning, "any_length", False))


def sizes_said(tuning: object) -> str:
    """Return the settings of a tuning's size, as an error names them; empty if it has none of the usual ones."""
    return ", ".join(f"tuning.{name}: {getattr(tuning, name)}" for name in SIZES if hasattr(tuning, name))
