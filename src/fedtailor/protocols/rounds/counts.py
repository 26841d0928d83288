"""What clients say of their numbers of examples: bounded, and the same from the start of a run to its end."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...interfaces import Federation
from ...messages import Manifest
from ...metrics import COUNTS
from ...records import ClientFailure, ClientId, ClientInfo, Fact, Message, Reply, Update

SCOPES = {"client-validation": "validation", "client": "test"}  # of figures -> the part that they are of


@dataclass(kw_only=True)
class CountedFederation:
    """A federation in which a client that reports another count than before is dropped by name, before anything uses its reply.

    Which facts are such counts, the manifest says. The number of training examples is known before the first round; a count that is
    not known yet is the one that a client reports first.
    """

    inner: Federation
    manifest: Manifest
    most_examples: int | None = None  # of one part of one client; None: any number
    of_all: Mapping[str, Fact] = field(default_factory=dict)  # counts that are the same for all clients, where they are known
    before: Mapping[ClientId, Mapping[str, Fact]] = field(
        default_factory=dict
    )  # what clients reported before the run was resumed
    lengths: Mapping[str, int] = field(default_factory=dict)  # of lists of counts, by the name of what they count
    _known: dict[ClientId, dict[str, Fact]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._known = {
            info.id: {"examples": info.examples, **self.before.get(info.id, {}), **self.of_all} for info in self.inner.clients
        }

    @property
    def clients(self) -> Sequence[ClientInfo]:
        return self.inner.clients

    def send(self, client: ClientId, message: Message) -> int:
        """Encode `message` for `client` at once and return a ticket."""
        return self.inner.send(client, message)

    def next_reply(self, timeout_s: float | None = None) -> Reply:
        """Return the next answer; one with another count is a failure."""
        return self._held(self.inner.next_reply(timeout_s))

    def cancel(self, ticket: int) -> None:
        """Forget a request that was not answered."""
        self.inner.cancel(ticket)

    def ask(self, requests: Mapping[ClientId, Message], timeout_s: float | None = None) -> Iterator[Reply]:
        """Send one request to each client and yield the answers as they come."""
        for reply in self.inner.ask(requests, timeout_s):
            yield self._held(reply)

    def _held(self, reply: Reply) -> Reply:
        if reply.message is None:
            return reply
        specs = self.manifest.up[reply.message.kind].facts
        fixed = {name: value for name, value in reply.message.facts.items() if specs[name].fixed}
        known = self._known.setdefault(reply.client, {})
        mark = "OtherCount" if any(known.get(name, value) != value for name, value in fixed.items()) else ""
        if any(specs[name].of_examples and self._is_too_many(value) for name, value in reply.message.facts.items()):
            mark = "TooManyExamples"
        if any(len(value) != self._length(name, value) for name, value in reply.message.facts.items() if isinstance(value, list)):
            mark = "OtherLength"
        if mark:
            return replace(reply, message=None, error=ClientFailure(kind="off-manifest", mark=mark))
        known |= fixed
        return reply

    def _is_too_many(self, value: Fact) -> bool:
        return self.most_examples is not None and isinstance(value, int | float) and value > self.most_examples

    def _length(self, name: str, value: Sequence[object]) -> int:
        return self.lengths.get(name.rpartition(".")[2], len(value))


def reported(rows: Iterable[Mapping[str, Any]]) -> dict[ClientId, dict[str, Fact]]:
    """Return the counts of its parts that each client reported, from the rows of a run's evaluations, as facts are named."""
    found: dict[ClientId, dict[str, Fact]] = {}
    for row in rows:
        if row["client"] and row["metric"] in COUNTS and row["scope"] in SCOPES:
            found.setdefault(row["client"], {})[f"{SCOPES[row['scope']]}.{row['metric']}"] = row["value"]
    return found


def limited(updates: Iterable[Update], most: float) -> Iterator[Update]:
    """Yield one round's updates, in which no client's weight is more than the share `most` of all; below 1, they are held until all are here."""
    if most >= 1:
        yield from updates
        return
    held = list(updates)
    for update, weight in zip(held, capped([update.weight for update in held], most), strict=True):
        yield replace(update, weight=weight)


def capped(weights: Sequence[float], most: float) -> list[float]:
    """Return the weights, the largest lowered to one level so that none is more than the share `most` of their sum.

    With no more than 1 / most clients that cannot be: then all count alike.
    """
    if most >= 1 or not weights:
        return list(weights)
    falling, rest = sorted(weights, reverse=True), sum(weights)
    for lowered, largest in enumerate(falling):
        if lowered * most >= 1:
            break
        level = most * rest / (1 - lowered * most)
        if largest <= level:  # this one and all smaller ones stay
            return [min(weight, level) for weight in weights]
        rest -= largest
    return [falling[-1]] * len(weights)
