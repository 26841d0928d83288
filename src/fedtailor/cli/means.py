"""The options that say what clients have to work with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..planning import Means

Bandwidth = Annotated[
    float | None, typer.Option(help="Bytes a second between a client and the server, each way, such as 1.25e6.")
]
Latency = Annotated[float, typer.Option(help="Seconds from a message to its answer, beside bytes and computing, such as 0.05.")]
ClientMemory = Annotated[float | None, typer.Option(help="Bytes of memory that a client has for its process, such as 2e9.")]
ClientFlops = Annotated[
    float | None, typer.Option(help="Operations a second at a client, such as 5e10; left out: as measured here, in a few steps.")
]
AtOnce = Annotated[int | None, typer.Option(help="Clients that work at the same time; left out: all of a round.")]


DAY_S = 86_400  # of latency, at most


def means_of(
    *, bandwidth: float | None, latency: float, client_memory: float | None, client_flops: float | None, at_once: int | None
) -> "Means":
    """Return what clients have, as options say it.

    Raises:
        SettingError: if a number makes no sense.
    """
    from ..errors import SettingError
    from ..planning import Means

    check_means({"bandwidth": bandwidth, "client_memory": client_memory, "client_flops": client_flops}, latency)
    if at_once is not None and at_once < 1:
        raise SettingError(f"--at-once is a number of clients, 1 or more; got {at_once}")
    return Means(bandwidth=bandwidth, latency_s=latency, client_memory=client_memory, client_flops=client_flops, at_once=at_once)


def check_means(given: Mapping[str, float | None], latency: float) -> None:
    """Raise SettingError if an amount, by the name of its option, or a latency makes no sense; from 1 on no estimate becomes infinite."""
    from ..errors import SettingError

    if not 0 <= latency <= DAY_S:
        raise SettingError(f"--latency is a number of seconds from 0 to {DAY_S:,} (a day), such as 0.05; got {latency}")
    for name, value in given.items():
        if value is not None and not 1 <= value < float("inf"):
            raise SettingError(f"--{name.replace('_', '-')} is a number, 1 or more, such as 5e9; got {value}")
