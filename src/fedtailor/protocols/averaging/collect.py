"""One round's replies, on their way to the aggregation."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from ...messages import read
from ...messages.record import facts_of
from ...messages.rows import row_of
from ...records import ClientFailure, ClientId, Reply, Update
from .messages import Trained

NO_COLUMNS = ("version", "scale")  # of clients.parquet: what a client reports of its tensors


class Collector:
    """Puts replies in the order of client ids, drops what cannot be used, and notes a row for each client.

    Replies that come early wait until those before them have come or failed, so that sums have the same bits whoever
    answered first.
    """

    def __init__(
        self,
        version: int,
        asked: Sequence[ClientId],
        weight: Callable[[Trained], float],
        *,
        trained: Collection[str] | None = None,
        scale: Callable[[Trained], Mapping[str, float]] = lambda trained: {},
        due_scale: Sequence[float] | None = None,
    ) -> None:
        """Take what was asked of whom.

        Args:
            version: of the shared weights that were sent.
            asked: the clients.
            weight: how a client's answer gives its weight.
            trained: names of the tensors that each must send; None: whatever it sends.
            scale: how it gives alpha / r per module.
            due_scale: what it must report of these, in their order; None: whatever it reports.
        """
        self.asked = sorted(asked)
        self.answered: list[ClientId] = []
        self.failures: dict[ClientId, ClientFailure] = {}
        self._version = version
        self._weight, self._scale, self._due_scale = weight, scale, due_scale
        self._trained = None if trained is None else set(trained)
        self._rows: dict[ClientId, dict[str, object]] = {client: {"client": client} for client in self.asked}

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
            del reply  # else its tensors would stay until the next one is here
            while expected in early:
                yield from self._take(early.pop(expected))
                expected = next(turn, None)
        for client in sorted(early):  # somebody before them never answered
            yield from self._take(early[client])

    def rows(self) -> list[dict[str, object]]:
        """Return a row for each client that was asked, for clients.parquet."""
        return [self._rows[client] for client in self.asked]

    def _take(self, reply: Reply) -> Iterator[Update]:
        trained = None if reply.message is None else read(reply.message, Trained)
        failure = reply.error or self._fault(trained)
        work = {} if trained is None else facts_of(trained, but=NO_COLUMNS)
        self._rows[reply.client] = row_of(reply, failure, work)
        if failure is not None or trained is None:
            assert failure is not None
            self.failures[reply.client] = failure
            return
        self.answered.append(reply.client)
        yield Update(
            client=reply.client,
            version=self._version,
            delta=trained.delta,
            weight=self._weight(trained),
            extra=trained.control,
            scale=self._scale(trained),
        )

    def _fault(self, trained: Trained | None) -> ClientFailure | None:
        """Return why an answer that passed the gate is of no use in this round."""
        if trained is None:
            return None
        if trained.version != self._version:
            return ClientFailure(kind="off-manifest", mark="StaleVersion")
        if not self._weight(trained) > 0:  # no mean can be made with it
            return ClientFailure(kind="off-manifest", mark="OtherWeight")
        if (
            self._trained is not None and set(trained.delta) != self._trained
        ):  # a rule that trains in turn: the manifest allows either
            return ClientFailure(kind="off-manifest", mark="OtherTensors")
        if not self._has_due_scale(trained):
            return ClientFailure(kind="off-manifest", mark="OtherScale")
        return None

    def _has_due_scale(self, trained: Trained) -> bool:
        try:
            self._scale(trained)
        except ValueError:  # a list of another length
            return False
        if self._due_scale is None:
            return True
        scale = trained.scale or ()
        return len(scale) == len(self._due_scale) and all(
            math.isclose(one, due, rel_tol=1e-6) for one, due in zip(scale, self._due_scale, strict=True)
        )
