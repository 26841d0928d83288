"""One client's part in a secure sum: it shares its secrets, masks its update once, and opens one secret of each client and never both."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...errors import OffManifest
from ...interfaces import Answer
from ...messages import answer
from ...records import ClientId, Message
from . import shamir
from .masks import KeyPair, mask, seal, unseal
from .messages import LEAST, AskKeys, AskShares, Deliver, Delivered, Keys, Shares, Unmask, Unmasked
from .words import Words


@dataclass(kw_only=True)
class Member:
    """What a client holds for the length of one round; whoever begins another round makes another."""

    me: ClientId
    version: int
    sealing: KeyPair = field(default_factory=KeyPair.fresh)
    masking: KeyPair = field(default_factory=KeyPair.fresh)
    seed: bytes = field(default_factory=lambda: os.urandom(shamir.SECRET_BYTES))  # of the mask that is its own
    clients: Sequence[ClientId] = ()
    sealing_keys: Mapping[ClientId, bytes] = field(default_factory=dict)
    masking_keys: Mapping[ClientId, bytes] = field(default_factory=dict)
    threshold: int = 0
    most_examples: int = 1  # that any client of the round has: as many count as 1
    summed: Sequence[ClientId] = ()  # those that have shared their secrets
    held: dict[ClientId, tuple[bytes, bytes]] = field(
        default_factory=dict
    )  # of each client, shares of its seed and its masking key
    masked: bool = False
    opened: bool = False

    def answer(self, message: Message) -> Answer:
        """Return the answer to one of the messages of a secure sum.

        Raises:
            OffManifest: if it asks for what would open a client's update.
        """
        return answer(message, {AskKeys: self.keys, AskShares: self.share, Deliver: self.deliver, Unmask: self.unmask})

    def keys(self, asked: AskKeys) -> Keys:
        """Return the public keys of this round."""
        return Keys(sealing_key=self.sealing.public.hex(), masking_key=self.masking.public.hex())

    def share(self, asked: AskShares) -> Shares:
        """Share the secrets among all clients of the round."""
        count, threshold = len(asked.clients), asked.threshold
        sealing, masking = _keys(asked.clients, asked.sealing_keys), _keys(asked.clients, asked.masking_keys)
        if self.clients or count < LEAST or not count < 2 * threshold <= 2 * count:
            raise OffManifest(f"shares were asked for twice, or for {threshold} of {count} clients")
        if sealing.get(self.me) != self.sealing.public or masking.get(self.me) != self.masking.public:
            raise OffManifest("the list of keys does not have our own")
        self.clients, self.sealing_keys, self.masking_keys, self.threshold = asked.clients, sealing, masking, threshold
        self.most_examples = asked.most_examples
        seeds = shamir.split(self.seed, threshold=threshold, count=count)
        secrets = shamir.split(self.masking.private, threshold=threshold, count=count)
        sealed = []
        for other, *pair in zip(asked.clients, seeds, secrets, strict=True):
            if other == self.me:
                self.held[other] = (pair[0], pair[1])
            sealed.append("" if other == self.me else self._seal(other, pair[0] + pair[1]).hex())
        return Shares(sealed=sealed)

    def deliver(self, asked: Deliver) -> Delivered:
        """Take the shares of the others' secrets."""
        senders = list(asked.senders)
        if self.summed or self.me not in senders or not set(senders) <= set(self.clients) or len(set(senders)) != len(senders):
            raise OffManifest("shares were delivered twice, or not from clients of this round")
        if len(senders) < max(self.threshold, LEAST):
            raise OffManifest(f"{len(senders)} clients shared their secrets, and it takes {max(self.threshold, LEAST)}")
        for sender, sealed in zip(senders, asked.sealed, strict=True):
            if sender != self.me:
                about = f"{self.version}|{sender}|{self.me}"  # the key of one direction is not that of the other
                opened = unseal(self.sealing.agreed(self.sealing_keys[sender], about), _bytes(sealed), about)
                if len(opened) != 2 * shamir.SHARE_BYTES:
                    raise OffManifest(f"client {sender!r} sealed no two shares")
                self.held[sender] = (opened[: shamir.SHARE_BYTES], opened[shamir.SHARE_BYTES :])
        self.summed = senders
        return Delivered(held=len(self.held))

    def mask(self, words: Words) -> Words:
        """Return the words of an update under all masks; those shared with others cancel in the sum.

        Raises:
            OffManifest: if an update was masked already: two under one mask would reveal their difference.
        """
        if self.masked or not self.summed:
            raise OffManifest("an update is masked once in a round, after secrets were shared")
        self.masked = True
        total = words + mask(self.seed, len(words))
        for other in self.summed:
            if other != self.me:
                pairwise = mask(self.masking.agreed(self.masking_keys[other], "mask"), len(words))
                total = total + pairwise if self.me < other else total - pairwise
        return total

    def unmask(self, asked: Unmask) -> Unmasked:
        """Open a share of the seed of each client that answered, and of the masking key of each that did not; once."""
        answered, dropped = set(asked.answered), set(asked.dropped)
        both = len(asked.answered) + len(asked.dropped)
        if self.opened or not self.masked:
            raise OffManifest("shares are opened once in a round, after the update")
        if answered & dropped or answered | dropped != set(self.summed) or both != len(self.summed) or self.me not in answered:
            raise OffManifest(
                "each client either answered or did not, and we did: whoever opened both secrets of one would read its update"
            )
        if len(answered) < max(self.threshold, LEAST):
            raise OffManifest(
                f"{len(answered)} clients answered, and the sum of fewer than {max(self.threshold, LEAST)} is not opened"
            )
        self.opened = True
        return Unmasked(
            seeds=[self.held[client][0].hex() for client in asked.answered],
            keys=[self.held[client][1].hex() for client in asked.dropped],
        )

    def _seal(self, other: ClientId, text: bytes) -> bytes:
        about = f"{self.version}|{self.me}|{other}"
        return seal(self.sealing.agreed(self.sealing_keys[other], about), text, about)


def _keys(clients: Sequence[ClientId], keys: Sequence[str]) -> dict[ClientId, bytes]:
    """Return the keys by client; each client and each key is there once."""
    if len(keys) != len(clients) or len(set(clients)) != len(clients) or len(set(keys)) != len(keys):
        raise OffManifest("the list of keys has a client or a key twice, or one without the other")
    return dict(zip(clients, map(_bytes, keys), strict=True))


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise OffManifest("a key or a share is not written in hexadecimal digits") from None
