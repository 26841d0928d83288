"""One client's part in a secure sum: it shares its secrets, masks its update once, and opens one secret of each client and never both.

Source: Bonawitz et al., 2017, figure 4, with the parts for a server that does not keep to the protocol: keys are signed, and clients agree on who dropped out
before they open anything (ConsistencyCheck). Different from it: a client signs not the list of those that answered alone, but all that the server has sent it
in this round, its own fresh key among that, so that no signature or key of another round can take part.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import OffManifest
from ...interfaces import Answer, Answering, Kept
from ...messages import answer, read
from ...records import ClientId, Message
from . import shamir
from .identity import Identity
from .masks import KeyPair, mask, seal, unseal
from .messages import (
    KINDS,
    LEAST,
    MEMBER,
    Agreed,
    AskAgree,
    AskKeys,
    AskShares,
    Deliver,
    Delivered,
    Keys,
    Shares,
    Unmask,
    Unmasked,
    fewest,
)
from .signed import of_keys, of_lists, seen_of
from .words import Words, bits_of


@dataclass(kw_only=True)
class Member:
    """What a client holds for the length of one round; whoever begins another round makes another."""

    me: ClientId
    version: int
    identity: Identity
    consistency: bool = True  # nothing is opened before enough clients have signed who dropped out
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
    proofs: Mapping[ClientId, str] = field(default_factory=dict)  # certificates of the clients' lasting keys
    seen: list[Any] = field(default_factory=list)  # what the server has sent to all clients alike
    agreed: Any = None  # the lists that were signed
    masked: bool = False
    opened: bool = False

    def answer(self, message: Message) -> Answer:
        """Return the answer to one of the messages of a secure sum.

        Raises:
            OffManifest: if it asks for what would open a client's update.
        """
        return answer(
            message,
            {AskKeys: self.keys, AskShares: self.share, Deliver: self.deliver, AskAgree: self.agree, Unmask: self.unmask},
        )

    def keys(self, asked: AskKeys) -> Keys:
        """Return the public keys of this round."""
        sealing, masking = self.sealing.public.hex(), self.masking.public.hex()
        signature = self.identity.sign(self._of_keys(self.me, sealing, masking))
        return Keys(sealing_key=sealing, masking_key=masking, signature=signature, proof=self.identity.proof)

    def share(self, asked: AskShares) -> Shares:
        """Share the secrets among all clients of the round; raise OffManifest if that was done, or the keys are not of this round."""
        count, threshold = len(asked.clients), asked.threshold
        sealing, masking = _keys(asked.clients, asked.sealing_keys), _keys(asked.clients, asked.masking_keys)
        if self.clients or count < LEAST or not fewest(count, consistency=self.consistency) <= threshold <= count:
            raise OffManifest(f"shares were asked for twice, or for {threshold} of {count} clients")
        if sealing.get(self.me) != self.sealing.public or masking.get(self.me) != self.masking.public:
            raise OffManifest("the list of keys does not have our own")
        self._check_signatures(asked)
        self.clients, self.sealing_keys, self.masking_keys, self.threshold = asked.clients, sealing, masking, threshold
        self.seen.append(seen_of(asked))
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
        """Take the shares of the others' secrets; raise OffManifest if they were taken already, are malformed, or are not of enough clients of this round."""
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
        self.seen.append(senders)
        return Delivered(held=len(self.held))

    def mask(self, words: Words) -> Words:
        """Return the words of an update under all masks; those shared with others cancel in the sum.

        Raises:
            OffManifest: if an update was masked already: two under one mask would reveal their difference.
        """
        if self.masked or not self.summed:
            raise OffManifest("an update is masked once in a round, after secrets were shared")
        self.masked = True
        bits = bits_of(words)
        total = words + mask(self.seed, len(words), bits)
        for other in self.summed:
            if other != self.me:
                pairwise = mask(self.masking.agreed(self.masking_keys[other], "mask"), len(words), bits)
                total = total + pairwise if self.me < other else total - pairwise
        return total

    def agree(self, asked: AskAgree) -> Agreed:
        """Sign who answered and who did not; once, else raise OffManifest."""
        if self.agreed is not None or not self.masked:
            raise OffManifest("lists are signed once in a round, after the update")
        self._check_lists(asked)
        self.agreed = [list(asked.answered), list(asked.dropped)]
        return Agreed(signature=self.identity.sign(self._of_lists()))

    def unmask(self, asked: Unmask) -> Unmasked:
        """Open a share of the seed of each client that answered, and of the masking key of each that did not; once, else raise OffManifest."""
        if self.opened or not self.masked:
            raise OffManifest("shares are opened once in a round, after the update")
        self._check_lists(asked)
        if self.consistency:
            self._check_agreed(asked)
        self.opened = True
        return Unmasked(
            seeds=[self.held[client][0].hex() for client in asked.answered],
            keys=[self.held[client][1].hex() for client in asked.dropped],
        )

    def _check_lists(self, asked: AskAgree | Unmask) -> None:
        """Raise OffManifest unless each client is in one of the lists, we among those that answered, and they are enough."""
        answered, dropped = set(asked.answered), set(asked.dropped)
        both = len(asked.answered) + len(asked.dropped)
        if answered & dropped or answered | dropped != set(self.summed) or both != len(self.summed) or self.me not in answered:
            raise OffManifest(
                "each client either answered or did not, and we did: whoever opened both secrets of one would read its update"
            )
        if len(answered) < max(self.threshold, LEAST):
            raise OffManifest(
                f"{len(answered)} clients answered, and the sum of fewer than {max(self.threshold, LEAST)} is not opened"
            )

    def _check_agreed(self, asked: Unmask) -> None:
        """Raise OffManifest unless as many clients as a secret takes have signed the lists that we have signed."""
        if self.agreed != [list(asked.answered), list(asked.dropped)]:
            raise OffManifest("the lists are others than those that this client has signed")
        signers = set(asked.signers)
        once = len(signers) == len(asked.signers) == len(asked.signatures)
        if not once or not signers <= set(asked.answered) or len(signers) < max(self.threshold, LEAST):
            raise OffManifest(
                f"{len(signers)} clients have signed the lists, and it takes {max(self.threshold, LEAST)} of those that answered"
            )
        text = self._of_lists()
        for signer, signature in zip(asked.signers, asked.signatures, strict=True):
            self.identity.verify(signer, self.proofs[signer], signature, text)

    def _check_signatures(self, asked: AskShares) -> None:
        """Raise OffManifest unless each client has signed its keys."""
        if not len(asked.signatures) == len(asked.proofs) == len(asked.clients):
            raise OffManifest("the list of keys has a key without a signature")
        self.proofs = dict(zip(asked.clients, asked.proofs, strict=True))
        for client, *keys, signature in zip(asked.clients, asked.sealing_keys, asked.masking_keys, asked.signatures, strict=True):
            self.identity.verify(client, self.proofs[client], signature, self._of_keys(client, *keys))

    def _of_keys(self, client: ClientId, sealing: str, masking: str) -> bytes:
        """Return what a client signs of its keys."""
        return of_keys(self.version, client, sealing, masking)

    def _of_lists(self) -> bytes:
        """Return what a client signs before anything is opened: all that it was sent, as others were."""
        return of_lists(self.version, self.seen, self.agreed)

    def _seal(self, other: ClientId, text: bytes) -> bytes:
        about = f"{self.version}|{self.me}|{other}"
        return seal(self.sealing.agreed(self.sealing_keys[other], about), text, about)


@dataclass(frozen=True, kw_only=True)
class Behind:
    """A client's part with that of secure sums before it."""

    half: Answering
    client: ClientId
    kept: Kept
    identity: Identity
    consistency: bool

    def answer(self, message: Message) -> Answer:
        """Return the answer to a message; a request for keys begins with fresh secrets."""
        if message.kind not in KINDS:
            return self.half.answer(message)
        if message.kind == AskKeys.kind:
            version = read(message, AskKeys).version
            member = Member(me=self.client, version=version, identity=self.identity, consistency=self.consistency)
            self.kept.brief[MEMBER] = member
        answered: Answer = self.kept.brief[MEMBER].answer(message)
        return answered


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
