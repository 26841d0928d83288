"""The options that say what clients have to work with."""

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


def means_of(
    *, bandwidth: float | None, latency: float, client_memory: float | None, client_flops: float | None, at_once: int | None
) -> "Means":
    """Return what clients have, as options say it.

    Raises:
        SettingError: if a number makes no sense.
    """
    from ..errors import SettingError
    from ..planning import Means

    if not 0 <= latency < float("inf"):
        raise SettingError(f"--latency is a number of seconds, 0 or more, such as 0.05; got {latency}")
    for name, value in (("bandwidth", bandwidth), ("client-memory", client_memory), ("client-flops", client_flops)):
        if value is not None and not 0 < value < float("inf"):
            raise SettingError(f"--{name} is a number above 0, such as 5e9; got {value}")
    if at_once is not None and at_once < 1:
        raise SettingError(f"--at-once is a number of clients, 1 or more; got {at_once}")
    return Means(bandwidth=bandwidth, latency_s=latency, client_memory=client_memory, client_flops=client_flops, at_once=at_once)
