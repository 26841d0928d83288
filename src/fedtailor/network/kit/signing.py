"""What the network's authority signs with: its own certificate and key, which lie where the network was made."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import SettingError
from .kits import read_folder
from .network_file import AUTHORITY
from .site_file import write_private

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.x509 import Certificate

VALID_DAYS = 360


def renew_authority(network: Path) -> str:
    """Give the authority a new certificate, of the same name and key, and return it in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    (root, signer), now = authority_of(network), datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(root.subject).issuer_name(root.subject).public_key(root.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(minutes=5))
    made = made.not_valid_after(now + timedelta(days=VALID_DAYS))
    for extension in root.extensions:
        made = made.add_extension(extension.value, critical=extension.critical)
    text, file = pem(made.sign(signer, hashes.SHA256())), _state_file(network)
    state = {**json.loads(file.read_text(encoding="utf-8")), "root_cert": text}
    write_private(file, json.dumps(state))
    return text


def sign(network: Path, name: Any, key: Any, extensions: list[Any]) -> "Certificate":
    """Return a certificate that the network's authority has signed, valid as long as its own at most."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    (root, signer), now = authority_of(network), datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(root.subject).public_key(key)
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(minutes=5))
    made = made.not_valid_after(min(now + timedelta(days=VALID_DAYS), root.not_valid_after_utc))
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    for extension in extensions:
        made = made.add_extension(extension, critical=False)
    return made.sign(signer, hashes.SHA256())


def vouched(network: Path, name: str, agent: "Ed25519PublicKey") -> str:
    """Return the authority's certificate of the key that a site's agent signs with in secure sums, in PEM."""
    from ...protection.secure.identity import vouch

    return pem(vouch(name, agent, *authority_of(network)))


def authority_of(network: Path) -> tuple["Certificate", Any]:
    """Return the authority's certificate and private key."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    state = _state(network)
    return load_pem_x509_certificate(state["root_cert"].encode()), load_pem_private_key(state["root_pri_key"].encode(), None)


def kept_extensions(certificate: "Certificate") -> list[Any]:
    """Return the extensions of a certificate that a new one keeps."""
    from cryptography import x509

    return [each.value for each in certificate.extensions if isinstance(each.value, x509.SubjectAlternativeName)]


def _state(network: Path) -> dict[str, Any]:
    """Return what NVFlare's tool keeps of the authority: its certificate and its key."""
    file = _state_file(network)
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {name: found[name] for name in ("root_cert", "root_pri_key")}
    except (OSError, ValueError, KeyError) as fault:
        raise SettingError(
            f"{network} has no authority that could sign ({type(fault).__name__}: {fault}); it lies where fedtailor net init was run"
        ) from None


def read_certificate(file: Path) -> "Certificate":
    """Return the certificate in a file; raise SettingError if there is none."""
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as fault:
        raise SettingError(f"{file} cannot be read ({fault})") from None


def public_pem(key: "Ed25519PublicKey") -> str:
    """Return a public key in PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def pem(certificate: "Certificate") -> str:
    """Return a certificate in PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _state_file(network: Path) -> Path:
    name: str = read_folder(network)["network"]
    return network / AUTHORITY / name / "state" / "cert.json"
