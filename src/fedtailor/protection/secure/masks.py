"""Keys, and the masks and sealed shares that are made of them."""

from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ...errors import OffManifest
from .messages import KEY_BYTES
from .words import UNSIGNED, Bits, Words

NONCE = bytes(12)  # every key seals one text


@dataclass(frozen=True, repr=False)
class KeyPair:
    """A private key of X25519, for one round."""

    private: bytes

    @classmethod
    def fresh(cls) -> "KeyPair":
        """Return one from the system's secure source."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    @property
    def public(self) -> bytes:
        """What others may know of it."""
        return X25519PrivateKey.from_private_bytes(self.private).public_key().public_bytes_raw()

    def agreed(self, public: bytes, purpose: str) -> bytes:
        """Return the key of 32 bytes that the owner of `public` gets from ours, and nobody else.

        Raises:
            OffManifest: if `public` is no key that two can agree by.
        """
        try:
            shared = X25519PrivateKey.from_private_bytes(self.private).exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as fault:  # of small order, or of another length
            raise OffManifest("a public key came that nobody can agree by") from fault
        return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(shared)


def mask(key: bytes, count: int, bits: Bits = 32) -> Words:
    """Return so many words: AES-256 in counter mode under a key that is used once."""
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(bits // 8 * count))
    words: Words = np.frombuffer(stream, dtype=f"<u{bits // 8}").astype(UNSIGNED[bits])
    return words


def seal(key: bytes, text: bytes, about: str) -> bytes:
    """Return a text that only who has the key can read, and that is of nothing else than `about`."""
    return ChaCha20Poly1305(key).encrypt(NONCE, text, about.encode())


def unseal(key: bytes, sealed: bytes, about: str) -> bytes:
    """Return what was sealed.

    Raises:
        OffManifest: if it was sealed with another key, for something else, or was changed.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(NONCE, sealed, about.encode())
    except InvalidTag:
        raise OffManifest("a share came that its sender did not seal for us in this round") from None
