"""What the engine, NVFlare and the two ends of a job promise each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ...errors import FedtailorError
from ...records import ClientId

Packed: TypeAlias = dict[str, Any]  # an encoded message: blob: bytes; or head: bytes, tensors: by name
EVENTS = "fedtailor"  # the topic under which a running job reports what happens
Plain: TypeAlias = dict[str, Any]  # plain values that cross the wire
# Environment variables that name inherited sockets by their numbers, each the end of a pair:
PARENT = "FEDTAILOR_PARENT_SOCKET"  # from the process of a job to the engine that started it
FORWARDER = "FEDTAILOR_FORWARDER_SOCKET"  # from a site's engine to what carries its bytes to the server
AGENT = "FEDTAILOR_AGENT_SOCKET"  # from a site's engine to the agent


class NetError(FedtailorError):
    """The server does not do what it was asked for."""


class ServerAway(NetError):
    """The server cannot be reached."""


class Unanswered(Exception):
    """A call got no answer: the client cannot be reached, or what came was no answer."""


class Line(Protocol):
    """What carries calls to clients; its methods are called from many threads."""

    def answer(self, client: ClientId, ticket: str, packed: Packed, timeout_s: float) -> Mapping[str, Any]:
        """Return what the client's half says to a message; raise TimeoutError or Unanswered."""

    def alive(self, client: ClientId, timeout_s: float) -> bool:
        """Return whether the client's process answers at all."""

    def forget(self, client: ClientId, ticket: str) -> None:
        """Let the client know, without waiting, that nobody waits for this answer any more."""

    def stopped(self) -> bool:
        """Return whether the job was aborted."""


def gives_sign(line: Line, client: ClientId, timeout_s: float) -> bool:
    """Return whether a client's process answers in time."""
    try:
        return line.alive(client, timeout_s)
    except BaseException:  # also the engine's own sign that the job is over, which `Line.stopped` shows
        return False


@dataclass(frozen=True)
class Places:
    """Folders at one end of a job."""

    kit: Path  # of the machine: what stays from job to job
    job: Path  # of this job alone; what lies here at the end is what the server stores as its result
    settings: Path  # files that came with the job


class SiteHalf(Protocol):
    """A site's end of a job; what its methods return leaves the site, and they raise nothing, as the engine would send the text."""

    def open(self, opening: Plain) -> Plain:
        """Answer what a job says of itself before it begins: info, or why the site does not take part."""

    def answer(self, ticket: str, packed: Packed) -> Plain:
        """Answer a message: the packed reply, or a failure."""

    def alive(self) -> bool:
        """Return whether what holds the site's data answers."""

    def forget(self, ticket: str) -> None:
        """Stop working on a message that nobody waits for."""

    def stop(self) -> None:
        """The job is over."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long the server waits."""

    answer_s: float = 3600.0  # for one answer; longer than the longest local training
    beat_s: float = 3.0  # between two signs of life of a client that works
    misses: int = 4  # signs of life that may be missing before a client counts as lost
