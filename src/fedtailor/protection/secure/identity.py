"""Who signs in a secure sum: a key of Ed25519 that stays with its client, and a certificate by which others know whose it is.

On a network the key is made at the site, and the network's authority vouches for it; in one process an authority of that process vouches for all.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from ...errors import OffManifest
from ...records import ClientId

SIGNS = x509.ObjectIdentifier(
    "2.25.98763294116153722806153902245073851347"
)  # what such a key is for, and nothing else: no TLS takes it
VALID_DAYS = 360
MOST_CHARACTERS = 64  # of a name in a certificate
NO_CERTIFICATE = (  # what comes of reading one that somebody has made up
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, repr=False)
class Identity:
    """What a client signs with, and what it knows others by."""

    private: bytes  # of Ed25519
    proof: str  # its certificate, in hexadecimal digits: what others learn its key from
    authority: bytes  # the certificate of who vouches for all, in DER

    def sign(self, data: bytes) -> str:
        """Return the signature of `data`, in hexadecimal digits."""
        return Ed25519PrivateKey.from_private_bytes(self.private).sign(data).hex()

    def verify(self, client: ClientId, proof: str, signature: str, data: bytes) -> None:
        """Take `data` for signed by a client.

        Raises:
            OffManifest: if nobody that we know vouches for the key, or the signature is another one's.
        """
        try:
            known_key(client, proof, self.authority).verify(bytes.fromhex(signature), data)
        except (InvalidSignature, ValueError):
            raise OffManifest(f"what came in the name of client {client!r} was not signed by it") from None


def vouch(client: ClientId, key: Ed25519PublicKey, authority: x509.Certificate, signer: Any) -> x509.Certificate:
    """Return a certificate that says that `key` signs for a client; it ends with the authority's own at the latest."""
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(_name(client)).issuer_name(authority.subject).public_key(key)
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(minutes=5))
    made = made.not_valid_after(min(now + timedelta(days=VALID_DAYS), authority.not_valid_after_utc))
    made = made.add_extension(x509.ExtendedKeyUsage([SIGNS]), critical=True)
    return made.sign(signer, hashes.SHA256() if isinstance(signer, RSAPrivateKey) else None)


@lru_cache(maxsize=4096)
def known_key(client: ClientId, proof: str, authority: bytes) -> Ed25519PublicKey:
    """Return the key that a certificate names for a client.

    Raises:
        OffManifest: if `authority` does not vouch for it, it is another client's or for another use, or it has ended.
    """
    try:
        certificate = x509.load_der_x509_certificate(bytes.fromhex(proof))
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(authority))
        valid = certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc
    except NO_CERTIFICATE:
        raise OffManifest(f"nobody whom this client knows vouches for the key of client {client!r}") from None
    if not valid:
        raise OffManifest(f"the certificate of client {client!r} has ended, or is not valid yet")
    return named_key(client, proof)


@lru_cache(maxsize=4096)
def named_key(client: ClientId, proof: str) -> Ed25519PublicKey:
    """Return the key that a certificate names for a client, whoever vouches for it.

    Raises:
        OffManifest: if it is no certificate, another client's or for another use.
    """
    try:
        certificate = x509.load_der_x509_certificate(bytes.fromhex(proof))
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        names = [each.value for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
        key = certificate.public_key()
    except NO_CERTIFICATE:
        raise OffManifest(f"what came as the certificate of client {client!r} is none that signs in a secure sum") from None
    if names != [_short(client)] or SIGNS not in uses or not isinstance(key, Ed25519PublicKey):
        raise OffManifest(f"the certificate of client {client!r} is another one's, or for another use")
    return key


@lru_cache(maxsize=4096)
def simulated(client: ClientId) -> Identity:
    """Return the identity of a client in this process, as long as the process lives."""
    authority, signer = _authority()
    key = Ed25519PrivateKey.generate()
    proof = vouch(client, key.public_key(), authority, signer).public_bytes(Encoding.DER).hex()
    return Identity(private=key.private_bytes_raw(), proof=proof, authority=authority.public_bytes(Encoding.DER))


@cache
def _authority() -> tuple[x509.Certificate, Ed25519PrivateKey]:
    signer, now, name = Ed25519PrivateKey.generate(), datetime.now(UTC), _name("clients of one process")
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(signer.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(minutes=5))
    return made.not_valid_after(now + timedelta(days=VALID_DAYS)).sign(signer, None), signer


def _name(client: ClientId) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _short(client))])


def _short(client: ClientId) -> str:
    """Return a name that fits into a certificate."""
    return client if len(client) <= MOST_CHARACTERS else hashlib.sha256(client.encode()).hexdigest()
