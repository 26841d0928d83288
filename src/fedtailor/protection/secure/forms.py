"""What the form of a client's answer shows at the server: keys, signatures and shares that are none fail the client that sent them, and not the round."""

import re
from collections import Counter
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature

from ...errors import OffManifest
from ...records import ClientFailure, ClientId
from . import shamir
from .identity import named_key
from .masks import KeyPair
from .messages import KEY_BYTES, SEALED_HEX, SIGNATURE_BYTES, Agreed, Keys, Shares, Unmasked
from .signed import of_keys

BAD_KEYS = ClientFailure(kind="off-manifest", mark="MalformedKeys")
BAD_SHARES = ClientFailure(kind="off-manifest", mark="MalformedShares")
BAD_SIGNATURE = ClientFailure(kind="off-manifest", mark="WrongSignature")


def bad_keys(found: Mapping[ClientId, Keys], version: int) -> dict[ClientId, ClientFailure]:
    """Return the clients whose keys every other one would refuse: of another form, of one that nobody agrees by, not signed, or those of two."""
    bad = {client: failure for client, keys in found.items() if (failure := _keys_fault(client, keys, version)) is not None}
    for kind in ("sealing_key", "masking_key"):
        count = Counter(getattr(keys, kind) for keys in found.values())
        bad |= {client: BAD_KEYS for client, keys in found.items() if count[getattr(keys, kind)] > 1}
    return bad


def _keys_fault(client: ClientId, keys: Keys, version: int) -> ClientFailure | None:
    pair, ours = (keys.sealing_key, keys.masking_key), KeyPair.fresh()
    if not all(_is_hex(key, KEY_BYTES) for key in pair):
        return BAD_KEYS
    try:
        for key in pair:
            ours.agreed(bytes.fromhex(key), "form")  # refuses those of small order
    except OffManifest:
        return BAD_KEYS
    return None if is_signed(client, keys, keys.signature, of_keys(version, client, *pair)) else BAD_SIGNATURE


def is_signed(client: ClientId, keys: Keys, signature: str, text: bytes) -> bool:
    """Return whether a text was signed with the key of the client's certificate; who vouches for that one only clients judge."""
    try:
        named_key(client, keys.proof).verify(bytes.fromhex(signature), text)
    except (OffManifest, InvalidSignature, ValueError):
        return False
    return _is_hex(signature, SIGNATURE_BYTES)


def are_sealed(client: ClientId, shares: Shares, clients: list[ClientId]) -> bool:
    """Return whether there is a sealed share for each client of the round, and none for the sender itself."""
    return len(shares.sealed) == len(clients) and all(
        text == "" if other == client else _is_hex(text, SEALED_HEX // 2)
        for other, text in zip(clients, shares.sealed, strict=True)
    )


def bad_signatures(found: Mapping[ClientId, Agreed], keys: Mapping[ClientId, Keys], text: bytes) -> dict[ClientId, ClientFailure]:
    """Return the clients whose signature is not of what they were sent."""
    return {client: BAD_SIGNATURE for client, each in found.items() if not is_signed(client, keys[client], each.signature, text)}


def are_shares(opened: Unmasked, *, answered: int, dropped: int) -> bool:
    """Return whether there is a share of the seed of each client that answered, and of the key of each that did not."""
    counts = (len(opened.seeds), len(opened.keys))
    return counts == (answered, dropped) and all(_is_share(text) for text in (*opened.seeds, *opened.keys))


def _is_share(text: str) -> bool:
    return _is_hex(text, shamir.SHARE_BYTES) and int(text, 16) < shamir.PRIME


def _is_hex(text: str, count: int) -> bool:
    """Return whether a text is so many bytes as we write them: `bytes.fromhex` takes blanks and capitals too, of which two texts are one key."""
    return re.fullmatch(r"[0-9a-f]*", text, re.ASCII) is not None and len(text) == 2 * count
