"""One round's replies, on their way to the aggregation."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from ..records import ClientFailure, ClientId, Facts, Reply, Update
from ..tensors import Tensors
from .drift import DriftMeter

TOLD = ("examples", "steps", "tokens", "targets", "first_loss", "last_loss", "validation_before", "validation_after", "seconds")


class Collector:
    """Puts replies in the order of client ids, drops what cannot be used, and notes a row for each client.

    Replies that come early wait until those before them have come or failed, so that sums have the same bits whoever
    answered first.
    """

    def __init__(self, version: int, asked: Sequence[ClientId], weight: Callable[[Facts], float]) -> None:
        """Take the version that was sent, the clients asked, and how a client's facts give its weight."""
        self.asked = sorted(asked)
        self.answered: list[ClientId] = []
        self.failures: dict[ClientId, ClientFailure] = {}
        self._version = version
        self._weight = weight
        self._rows: dict[ClientId, dict[str, object]] = {client: {"client": client} for client in self.asked}
        self._drift = DriftMeter()

    def updates(self, replies: Iterable[Reply]) -> Iterator[Update]:
        """Yield the usable updates in the order of client ids."""
        early: dict[ClientId, Reply] = {}
        turn = iter(self.asked)
        expected = next(turn, None)
        seen: set[ClientId] = set()
        for reply in replies:
            if reply.client in seen:  # a second answer to one request counts for nothing
                continue
            seen.add(reply.client)
            early[reply.client] = reply
            while expected in early:
                yield from self._take(early.pop(expected))
                expected = next(turn, None)
        for client in sorted(early):  # somebody before them never answered
            yield from self._take(early[client])

    def rows(self, mean: Tensors) -> list[dict[str, object]]:
        """Return a row for each client that was asked, for clients.parquet; `mean` is the step that the round took."""
        for client, figures in self._drift.measure(mean).items():
            self._rows[client] |= figures
        return [self._rows[client] for client in self.asked]

    def _take(self, reply: Reply) -> Iterator[Update]:
        row = self._rows[reply.client]
        row |= {"up_bytes": reply.traffic.up_bytes, "down_bytes": reply.traffic.down_bytes}
        row["exchange_seconds"] = reply.traffic.seconds
        failure = reply.error
        if reply.message is not None and reply.message.facts["version"] != self._version:
            failure = ClientFailure(kind="off-manifest", mark="StaleVersion")
        if failure is not None or reply.message is None:
            assert failure is not None
            self.failures[reply.client] = failure
            row["error"] = f"{failure.kind}: {failure.mark}"
            return
        facts = reply.message.facts
        row |= {name: facts[name] for name in (*TOLD, "peak_bytes") if name in facts}
        self.answered.append(reply.client)
        self._drift.add(reply.client, reply.message.tensors)
        yield Update(client=reply.client, version=self._version, delta=reply.message.tensors, weight=self._weight(facts))
