"""A site's own key: made at the site, where it stays. A request goes to the network's operator, and a certificate comes back."""

import json
from pathlib import Path
from typing import Any

from ...errors import SettingError
from ...storage import write_text, writing
from .agent_key import CERTIFICATE as AGENT_CERTIFICATE
from .agent_key import IN_REQUEST, make_agent_key
from .agent_key import KEY as AGENT_KEY
from .kits import FILE
from .network_file import is_site_name
from .site_file import write_private

KEY_BITS = 2048  # RSA: NVFlare signs with it too
ANSWER = ".admitted.json"  # behind a site's name: what comes back


def make_request(name: str, kit: Path) -> Path:
    """Make a site's keys in a folder, which becomes its kit, and return the request that goes to the network's operator.

    A kit of an earlier release, whose agent has no key, gets that one, and a new request for the key that it has.

    Raises:
        SettingError: if `name` is no name of a site, or the folder has its keys already.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key_file, request_file = kit / "startup" / "client.key", kit / f"{name}.request.pem"
    if not is_site_name(name):
        raise SettingError(f"{name!r} is no name of a site: letters from a to z, digits, - and _, such as north")
    if key_file.exists() and (kit / AGENT_KEY).exists():
        raise SettingError(f"{kit} has a key already; send the request that lies in it, or name another folder with --out")
    with writing(kit):
        kit.mkdir(mode=0o700, parents=True, exist_ok=True)
        kit.chmod(0o700)
        (kit / "local").mkdir(exist_ok=True)
    if not key_file.exists():
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        made = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        write_private(key_file, made.private_bytes(*form).decode())
    key: Any = serialization.load_pem_private_key(key_file.read_bytes(), None)
    agents = x509.UnrecognizedExtension(x509.ObjectIdentifier(IN_REQUEST), make_agent_key(kit))
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject(name)).add_extension(agents, critical=False)
    request = asked.sign(key, hashes.SHA256())
    write_text(request_file, request.public_bytes(serialization.Encoding.PEM).decode())
    return request_file


def take_answer(kit: Path) -> str:
    """Put what came back from the network's operator into a kit, if it lies there, and return its name; "" if there is nothing new.

    Raises:
        SettingError: if it is for another key, or damaged.
    """
    found = sorted(kit.glob(f"*{ANSWER}"), key=lambda path: path.stat().st_mtime)
    if not found:
        if (kit / "startup" / "client.key").is_file() and not (kit / FILE).is_file():
            raise SettingError(
                f"{kit} waits for its certificate: send {_request_in(kit)} to who runs the network, and put what comes back (NAME{ANSWER}) into {kit}"
            )
        return ""
    answer = found[-1]
    answered = _read_answer(kit, answer)
    startup = kit / "startup"
    if (startup / "client.crt").is_file() and (startup / "client.crt").read_text(encoding="utf-8") == answered["certificate"]:
        return ""
    if "agent" in answered:
        write_text(kit / AGENT_CERTIFICATE, answered["agent"])
    write_text(startup / "rootCA.pem", answered["authority"])
    write_text(startup / "fed_client.json", json.dumps(answered["engine"]))
    write_text(startup / "client.crt", answered["certificate"])
    write_private(kit / FILE, json.dumps(answered["network"]) + "\n")
    return answer.name


def subject(name: str) -> Any:
    """Return the name of a site as certificates write it."""
    from cryptography import x509

    organisation = f"org_{name.replace('-', '_')}"
    return x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, name), x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organisation)]
    )


def _read_answer(kit: Path, answer: Path) -> dict[str, Any]:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    try:
        answered: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        certificate = load_pem_x509_certificate(answered["certificate"].encode())
        load_pem_x509_certificate(answered["authority"].encode())
        key = load_pem_private_key((kit / "startup" / "client.key").read_bytes(), None)
        {**answered["engine"], **answered["network"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise SettingError(f"{answer} cannot be read ({type(fault).__name__}: {fault}); ask for it again") from None
    if key.public_key() != certificate.public_key():
        raise SettingError(f"{answer} is for another key than that of {kit}; send {_request_in(kit)}")
    return answered


def _request_in(kit: Path) -> str:
    return next((str(path) for path in sorted(kit.glob("*.request.pem"))), "the request that fedtailor site request wrote")
