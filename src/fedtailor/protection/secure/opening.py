"""One sum: who takes part, what failed on the way, and how its masks come off."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...interfaces import Federation
from ...messages import Record, read, write
from ...records import ClientFailure, ClientId, Message, Traffic
from . import shamir
from .forms import BAD_SHARES, are_sealed, are_shares, bad_keys, bad_signatures
from .masks import KeyPair, mask
from .messages import LEAST, Agreed, AskAgree, AskKeys, AskShares, Deliver, Delivered, Keys, Shares, Unmask, Unmasked
from .signed import of_lists, seen_of
from .words import Words, bits_of

TOO_FEW = ClientFailure(kind="lost", mark="TooFewForASum")
R = TypeVar("R", bound=Record)
Faults = Mapping[ClientId, ClientFailure]


@dataclass(kw_only=True)
class Round:
    """The exchanges of one sum: what failed, and what it cost."""

    inner: Federation
    timeout_s: float | None
    failures: dict[ClientId, ClientFailure] = field(default_factory=dict)
    malformed: dict[ClientId, ClientFailure] = field(default_factory=dict)  # of answers whose form shows that they are none
    traffic: dict[ClientId, Traffic] = field(default_factory=dict)

    def ask(self, requests: Mapping[ClientId, Message]) -> Iterator[tuple[ClientId, Message]]:
        """Yield the answers that came; who gave none is noted."""
        for reply in self.inner.ask(requests, self.timeout_s):
            self.traffic[reply.client] = self.traffic.get(reply.client, Traffic()) + reply.traffic
            if reply.message is None:
                self.failures[reply.client] = reply.error or TOO_FEW
            else:
                yield reply.client, reply.message

    def exchange(
        self, requests: Mapping[ClientId, Record], form: type[R], faults: Callable[[dict[ClientId, R]], Faults] = lambda found: {}
    ) -> dict[ClientId, R]:
        """Return the answers as records, in the order of clients.

        Args:
            faults: what is wrong with the form of answers, by client; these are noted and left out.
        """
        found = {client: read(message, form) for client, message in self.ask({c: write(asked) for c, asked in requests.items()})}
        wrong = faults(found)
        self.malformed |= wrong
        return {client: answer for client, answer in sorted(found.items()) if client not in wrong}

    def keys(self, clients: Sequence[ClientId], version: int) -> dict[ClientId, Keys]:
        """Return the public keys of those that gave some."""
        return self.exchange(dict.fromkeys(clients, AskKeys(version=version)), Keys, lambda found: bad_keys(found, version))


@dataclass(kw_only=True)
class Sum:
    """The clients of a sum, and what the server knows of their secrets: nothing, until it is given shares."""

    version: int
    threshold: int
    consistency: bool
    most: int  # examples of the largest client
    keys: Mapping[ClientId, Keys]
    seen: list[Any] = field(default_factory=list)  # what all clients were sent alike, as they sign it

    @property
    def least(self) -> int:
        """The fewest clients whose sum is opened."""
        return max(self.threshold, LEAST)

    def share(self, round: Round) -> tuple[list[ClientId], list[ClientId]]:
        """Let clients share their secrets; return who did, and who has all that were sent to it."""
        clients = list(self.keys)
        everybody = AskShares(
            threshold=self.threshold,
            most_examples=self.most,
            clients=clients,
            sealing_keys=[self.keys[client].sealing_key for client in clients],
            masking_keys=[self.keys[client].masking_key for client in clients],
            signatures=[self.keys[client].signature for client in clients],
            proofs=[self.keys[client].proof for client in clients],
        )

        def faults(found: Mapping[ClientId, Shares]) -> Faults:
            return {client: BAD_SHARES for client, shares in found.items() if not are_sealed(client, shares, clients)}

        found = round.exchange(dict.fromkeys(clients, everybody), Shares, faults)
        senders = list(found)
        self.seen = [seen_of(everybody), senders]
        if len(senders) < self.least:
            return senders, []
        sealed = {c: [found[sender].sealed[clients.index(c)] for sender in senders] for c in senders}
        ready = round.exchange({c: Deliver(senders=senders, sealed=sealed[c]) for c in senders}, Delivered)
        return senders, list(ready)

    def unmask(self, round: Round, total: Words, answered: Sequence[ClientId], dropped: Sequence[ClientId]) -> bool:
        """Take the masks off `total`, in place; return whether enough clients gave shares for that.

        Raises:
            ValueError: if shares fit no secret: nobody can say whose.
            OffManifest: if a key that they give is none.
        """
        agreed = self._agreed(round, answered, dropped)
        signatures = [each.signature for each in agreed.values()]
        asked = Unmask(answered=answered, dropped=dropped, signers=list(agreed), signatures=signatures)

        def faults(found: Mapping[ClientId, Unmasked]) -> Faults:
            sizes = {"answered": len(answered), "dropped": len(dropped)}
            return {client: BAD_SHARES for client, opened in found.items() if not are_shares(opened, **sizes)}

        opened = round.exchange(dict.fromkeys(agreed or answered, asked), Unmasked, faults)
        if len(opened) < self.threshold:
            return False
        bits = bits_of(total)
        numbers = {client: number for number, client in enumerate(self.keys, 1)}
        for place in range(len(answered)):
            total -= mask(
                shamir.combine({numbers[c]: bytes.fromhex(each.seeds[place]) for c, each in opened.items()}), len(total), bits
            )
        for place, gone in enumerate(dropped):
            pair = KeyPair(shamir.combine({numbers[c]: bytes.fromhex(each.keys[place]) for c, each in opened.items()}))
            if pair.public.hex() != self.keys[gone].masking_key:
                raise ValueError("shares give another key than the one that a client named")
            for client in answered:
                left = mask(pair.agreed(bytes.fromhex(self.keys[client].masking_key), "mask"), len(total), bits)
                total += -left if client < gone else left
        return True

    def _agreed(self, round: Round, answered: Sequence[ClientId], dropped: Sequence[ClientId]) -> dict[ClientId, Agreed]:
        """Return the clients' signatures under who answered and who did not; nobody's where they are not asked for."""
        if not self.consistency:
            return {}
        text = of_lists(self.version, self.seen, [list(answered), list(dropped)])
        asked = dict.fromkeys(answered, AskAgree(answered=answered, dropped=dropped))
        return round.exchange(asked, Agreed, lambda found: bad_signatures(found, self.keys, text))
