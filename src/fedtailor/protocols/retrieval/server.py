"""The server's part of retrieval: what carries its requests to the clients of a federation, and counts them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...errors import OffManifest
from ...interfaces import Federation
from ...messages import Record, read, write
from ...records import ClientFailure, ClientId
from ...retrieval.messages import ANSWERS


@dataclass(kw_only=True)
class Courier:
    """Sends requests through an engine's gate, and keeps count of bytes and failures."""

    federation: Federation
    timeout_s: float
    down_bytes: int = 0
    up_bytes: int = 0
    failures: list[tuple[ClientId, ClientFailure]] = field(default_factory=list)

    def send(self, requests: Mapping[str, Record]) -> dict[str, Record]:
        """Give each client its request, and return the answers of those that answered in time, and as asked."""
        found: dict[str, Record] = {}
        messages = {ClientId(name): write(request) for name, request in requests.items()}
        for reply in self.federation.ask(messages, self.timeout_s):
            self.down_bytes += reply.traffic.down_bytes
            self.up_bytes += reply.traffic.up_bytes
            if reply.error is not None or reply.message is None:
                if reply.error is not None:
                    self.failures.append((reply.client, reply.error))
                continue
            try:
                found[reply.client] = read(reply.message, ANSWERS[type(requests[reply.client])])
            except OffManifest:
                self.failures.append((reply.client, ClientFailure(kind="off-manifest", mark=OffManifest.__name__)))
        return found
