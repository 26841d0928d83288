"""The key that a site's agent signs with in secure sums: made at the site, kept from its engine, vouched for by the network's authority."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import SettingError
from ...records import ClientId
from .site_file import write_private

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from ...protection.secure.identity import Identity

KEY, CERTIFICATE = "local/agent.key", "local/agent.crt"  # in the kit; the engine gets nothing of local/
AUTHORITY_FILE = "startup/rootCA.pem"
IN_REQUEST = "2.25.25456501508523215480019597461672915158"  # the agent's public key, in a site's request


def make_agent_key(kit: Path) -> bytes:
    """Make the agent's key, unless the kit has one, and return its public half (32 bytes)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    if not (kit / KEY).is_file():
        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(kit / KEY, Ed25519PrivateKey.generate().private_bytes(*form).decode())
    public: bytes = read_private(kit).public_key().public_bytes_raw()
    return public


def read_private(kit: Path) -> Any:
    """Return the agent's private key.

    Raises:
        SettingError: if it is not there, or no key of Ed25519.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key((kit / KEY).read_bytes(), None)
    except (OSError, ValueError, TypeError) as fault:
        raise SettingError(f"{kit / KEY} cannot be read ({fault}); {_remedy(kit)}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingError(f"{kit / KEY} is no key of Ed25519; {_remedy(kit)}")
    return key


def key_in_request(request: Any) -> "Ed25519PublicKey | None":
    """Return the agent's public key in a site's request; None in one of a release that had none."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    for extension in request.extensions:
        if extension.oid == x509.ObjectIdentifier(IN_REQUEST):
            return Ed25519PublicKey.from_public_bytes(extension.value.value)
    return None


def read_identity(site: ClientId, kit: Path) -> "Identity":
    """Return what the site signs with.

    Raises:
        SettingError: if the kit has no such key, or its certificate is another one's or has ended.
    """
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_pem_x509_certificate

    from ...errors import OffManifest
    from ...protection.secure.identity import Identity, known_key

    key = read_private(kit)
    try:
        certificate = load_pem_x509_certificate((kit / CERTIFICATE).read_bytes())
        authority = load_pem_x509_certificate((kit / AUTHORITY_FILE).read_bytes()).public_bytes(Encoding.DER)
        proof = certificate.public_bytes(Encoding.DER).hex()
        known = known_key(site, proof, authority)
    except (OSError, ValueError, OffManifest) as fault:
        raise SettingError(f"{kit / CERTIFICATE} cannot be used ({fault}); {_remedy(kit)}") from None
    if known != key.public_key():
        raise SettingError(f"{kit / CERTIFICATE} is for another key than {KEY}; {_remedy(kit)}")
    return Identity(private=key.private_bytes_raw(), proof=proof, authority=authority)


def _remedy(kit: Path) -> str:
    return (
        f"secure aggregation takes a key of the site's own: fedtailor site request NAME --out {kit} adds it, and who runs the network admits the request again "
        "(for a kit with keys inside: fedtailor net renew NET)"
    )
