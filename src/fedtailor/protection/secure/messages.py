"""What server and clients say to each other around a secure sum.

server                                          client
secure-keys                                  ->
                                             <-   two public keys, of this round alone, signed
secure-shares: everybody's keys              ->
                                             <-   shares of its two secrets, each sealed for one other client
secure-deliver: those sealed for this client ->
                                             <-   how many it holds
(the round's own request)                    ->
                                             <-   (its answer, with the update masked)
secure-agree: who answered and who did not   ->
                                             <-   a signature under that, and under all that came before
secure-unmask: the same, and who signed it   ->
                                             <-   of each client a share of the one secret or of the other
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...messages import Call, FactSpec, Record
from ...messages.facts import asked
from ...messages.record import fact
from .shamir import SHARE_BYTES

KEY_BYTES, SIGNATURE_BYTES = 32, 64
MOST_PROOF = 4_000  # characters of a certificate
LEAST, MOST_CLIENTS = 3, 1_000  # clients of a sum: that of two reveals to each of them the other's
SEALED_HEX = 2 * (2 * SHARE_BYTES + 16)  # two shares and a tag
MEMBER = "secure"  # among what a client holds for the length of a round
VERSION = asked("rounds behind the shared weights")


def fewest(count: int, *, consistency: bool) -> int:
    """Return the least threshold of so many clients: above half, so that no two groups can open both secrets of one; with signed lists above two thirds.

    With lists that clients have agreed on, a server and fewer than a third of the clients with it can still not have two lists signed by so many.
    """
    return 2 * count // 3 + 1 if consistency else count // 2 + 1


def _texts(purpose: str, each: int) -> FactSpec:
    """Return the spec of one short text for each client of a round."""
    return FactSpec(
        type="list[str]", purpose=purpose, reveals="nothing", most_items=MOST_CLIENTS, most_characters=each * MOST_CLIENTS
    )


NAMES = _texts("clients of the round, in the order of their numbers", 200)
KEY = FactSpec(type="str", purpose="a public key of this round", reveals="nothing", most_characters=2 * KEY_BYTES)
KEYS = _texts("public keys of the clients", 2 * KEY_BYTES)
SIGNATURE = FactSpec(
    type="str", purpose="a signature of the client's own key", reveals="nothing", most_characters=2 * SIGNATURE_BYTES
)
SIGNATURES = _texts("signatures of clients", 2 * SIGNATURE_BYTES)
PROOF = FactSpec(type="str", purpose="the certificate of the key that signs", reveals="nothing", most_characters=MOST_PROOF)
PROOFS = _texts("certificates of the clients' keys", MOST_PROOF)
SEALED = _texts("shares of secrets that hide nothing but masks, each sealed for one client", SEALED_HEX)
ANSWERED = replace(NAMES, purpose="clients whose masked updates came")
DROPPED = replace(NAMES, purpose="clients whose masked updates did not come")
OPEN = _texts("shares of secrets that masks are made of", 2 * SHARE_BYTES)


@dataclass(frozen=True, kw_only=True)
class AskKeys(Record, kind="secure-keys"):
    """A round begins."""

    version: int = fact(VERSION)


@dataclass(frozen=True, kw_only=True)
class Keys(Record, kind="secure-keys"):
    """One client's public keys."""

    sealing_key: str = fact(KEY)
    masking_key: str = fact(KEY)
    signature: str = fact(SIGNATURE)  # of both, by the client's lasting key
    proof: str = fact(PROOF)


@dataclass(frozen=True, kw_only=True)
class AskShares(Record, kind="secure-shares"):
    """Everybody's public keys."""

    threshold: int = fact(asked("shares that give back a secret"))
    most_examples: int = fact(asked("examples of the largest client: an update counts its client's number over this"))
    clients: Sequence[str] = fact(NAMES)
    sealing_keys: Sequence[str] = fact(KEYS)
    masking_keys: Sequence[str] = fact(KEYS)
    signatures: Sequence[str] = fact(SIGNATURES)
    proofs: Sequence[str] = fact(PROOFS)


@dataclass(frozen=True, kw_only=True)
class Shares(Record, kind="secure-shares"):
    """Shares of one client's secrets; empty for itself."""

    sealed: Sequence[str] = fact(SEALED)


@dataclass(frozen=True, kw_only=True)
class Deliver(Record, kind="secure-deliver"):
    """The shares that others sealed for this client."""

    senders: Sequence[str] = fact(replace(NAMES, purpose="clients that sent shares: all that are summed"))
    sealed: Sequence[str] = fact(SEALED)


@dataclass(frozen=True, kw_only=True)
class Delivered(Record, kind="secure-deliver"):
    """They are here."""

    held: int = fact(asked("shares that the client holds"))


@dataclass(frozen=True, kw_only=True)
class AskAgree(Record, kind="secure-agree"):
    """Who answered, and who did not."""

    answered: Sequence[str] = fact(ANSWERED)
    dropped: Sequence[str] = fact(DROPPED)


@dataclass(frozen=True, kw_only=True)
class Agreed(Record, kind="secure-agree"):
    """One client's signature under these lists and all that it was sent before."""

    signature: str = fact(SIGNATURE)


@dataclass(frozen=True, kw_only=True)
class Unmask(Record, kind="secure-unmask"):
    """Who answered, who did not, and who has signed that."""

    answered: Sequence[str] = fact(ANSWERED)
    dropped: Sequence[str] = fact(DROPPED)
    signers: Sequence[str] = fact(
        replace(NAMES, purpose="clients that have signed the lists; none without the consistency round")
    )
    signatures: Sequence[str] = fact(SIGNATURES)


@dataclass(frozen=True, kw_only=True)
class Unmasked(Record, kind="secure-unmask"):
    """A share of the own mask of each client that answered, and of the masking key of each that did not."""

    seeds: Sequence[str] = fact(OPEN)
    keys: Sequence[str] = fact(OPEN)


CALLS = (
    Call(question=AskKeys, answers=(Keys,)),
    Call(question=AskShares, answers=(Shares,)),
    Call(question=Deliver, answers=(Delivered,)),
    Call(question=AskAgree, answers=(Agreed,)),
    Call(question=Unmask, answers=(Unmasked,)),
)
KINDS = frozenset(call.question.kind for call in CALLS)
