"""What the network's operator does with keys: admits sites, renews certificates, and revokes them. Nobody's private key is seen here but the authority's."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import SettingError
from ...storage import write_text, writing
from .agent_key import CERTIFICATE, key_in_request, make_agent_key, read_private
from .certificates import AUTHORITY_FILE
from .engine_settings import SERVER
from .kits import make_kits, read_folder, server_kit, set_sites
from .network_file import ADMIN, AUTHORITY, Network, is_site_name
from .signing import authority_of, kept_extensions, pem, public_pem, read_certificate, renew_authority, sign, vouched
from .site_file import write_private
from .site_key import ANSWER, subject, take_answer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.x509 import Certificate

ADMITTED = "admitted"  # in the network's folder: what goes back to sites; in its authority/: the certificates of each
REVOKED = "revoked.json"  # in the server's kit, local/: numbers of certificates, by site


@dataclass(kw_only=True)
class Issued:
    """What was signed for one site."""

    certificate: "Certificate"  # the newest
    agent: "Ed25519PublicKey | None" = None  # of the site's agent; None for kits of releases that had none
    numbers: list[str] = field(default_factory=list)  # of all


def make_network(network: Network, folder: Path) -> list[Path]:
    """Make the kits of a network as `make_kits` does, with keys for the agents of its sites; return the new ones."""
    made = make_kits(network, folder)
    for name in network.sites:
        if not (folder / name / CERTIFICATE).is_file():
            make_agent_key(folder / name)
            write_text(folder / name / CERTIFICATE, vouched(folder, name, read_private(folder / name).public_key()))
    return made


def admit(network: Path, request_file: Path) -> Path:
    """Sign a site's request and return the file that goes back to it; one that was admitted with the same key gets a new certificate.

    Raises:
        SettingError: if it is no request, or its name is taken by another key.
    """
    from cryptography import x509

    about = read_folder(network)
    try:
        request = x509.load_pem_x509_csr(request_file.read_bytes())
        name = str(request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
        good, agent = request.is_signature_valid and is_site_name(name), key_in_request(request)
    except (OSError, ValueError, IndexError) as fault:
        raise SettingError(f"{request_file} is no request of a site ({fault}); fedtailor site request NAME makes one") from None
    if not good:
        raise SettingError(f"{request_file}: {name[:60]!r} is no name of a site, or the request is not signed with its own key")
    before = issued(network, name)
    revoked = before is not None and set(before.numbers) <= set(revoked_numbers(network).get(name, []))
    if before is not None and before.certificate.public_key() != request.public_key() and not revoked:
        raise SettingError(
            f"{name} is a site of this network with another key; if that is lost, fedtailor net revoke {network} {name} first, else take another name"
        )
    if before is not None and before.certificate.public_key() == request.public_key() and revoked:
        raise SettingError(f"the key of {name} was revoked; the site makes another one with fedtailor site request")
    answer = _issue(network, name, request.public_key(), before, agent)
    set_sites(network, sorted({*about["sites"], name}))
    return answer


def renew(network: Path) -> list[Path]:
    """Give the network, its server, administrator and all sites that are not revoked new certificates for the keys that they have; return what goes to the
    sites.

    What the authority has signed stays valid beside it, and sites that have its old certificate use it until that ends.
    """
    root, answers = renew_authority(network), []
    for name in read_folder(network)["sites"]:
        before = issued(network, name)
        if before is None or set(before.numbers) <= set(revoked_numbers(network).get(name, [])):
            continue
        kit, agent = network / name, before.agent
        if kit.is_dir():  # a kit that was made here
            make_agent_key(kit)
            agent = read_private(kit).public_key()
        answers.append(_issue(network, name, before.certificate.public_key(), before, agent))
        if kit.is_dir():
            write_text(kit / answers[-1].name, answers[-1].read_text(encoding="utf-8"))
            take_answer(kit)
    for kit, stem in ((server_kit(network), SERVER), (network / ADMIN, "client")):
        write_text(kit / "startup" / AUTHORITY_FILE, root)
        old = read_certificate(kit / "startup" / f"{stem}.crt")
        write_text(kit / "startup" / f"{stem}.crt", pem(sign(network, old.subject, old.public_key(), kept_extensions(old))))
    return answers


def revoke(network: Path, name: str) -> Path:
    """Have the server refuse all certificates of a site; return the list that it reads.

    Raises:
        SettingError: if there is no such site.
    """
    found = issued(network, name)
    if found is None:
        raise SettingError(f"{name!r} is no site of this network; its sites are {', '.join(read_folder(network)['sites'])}")
    file = server_kit(network) / "local" / REVOKED
    about = revoked_numbers(network)
    write_private(file, json.dumps({**about, name: sorted({*about.get(name, []), *found.numbers})}, indent=2) + "\n")
    return file


def issued(network: Path, name: str) -> Issued | None:
    """Return what was signed for a site; None if nothing was."""
    first = network / name / "startup" / "client.crt"
    numbers = [number(read_certificate(first))] if first.is_file() else []
    record = network / AUTHORITY / ADMITTED / f"{name}.json"
    if record.is_file():
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
        from cryptography.x509 import load_pem_x509_certificate

        about = json.loads(record.read_text(encoding="utf-8"))
        agent: Any = load_pem_public_key(about["agent"].encode()) if "agent" in about else None
        found = load_pem_x509_certificate(about["certificate"].encode())
        return Issued(certificate=found, agent=agent, numbers=about["numbers"])
    return Issued(certificate=read_certificate(first), numbers=numbers) if numbers else None


def certificate_ends(network: Path) -> dict[str, datetime]:
    """Return until when the newest certificates of the server, the administrator and all sites are valid, by name; nothing for a kit, which has none but its own."""
    if not (network / AUTHORITY).is_dir():
        return {}
    ours = {SERVER: server_kit(network) / "startup" / f"{SERVER}.crt", ADMIN: network / ADMIN / "startup" / "client.crt"}
    found = {name: read_certificate(file).not_valid_after_utc for name, file in ours.items() if file.is_file()}
    signed = {name: issued(network, name) for name in read_folder(network)["sites"]}
    return found | {name: each.certificate.not_valid_after_utc for name, each in signed.items() if each is not None}


def revoked_numbers(network: Path) -> dict[str, list[str]]:
    """Return the numbers of certificates that the server refuses, by site."""
    file = server_kit(network) / "local" / REVOKED
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def number(certificate: "Certificate") -> str:
    """Return a certificate's number as TLS libraries write it: hexadecimal, an even count of digits."""
    text = f"{certificate.serial_number:X}"
    return text.zfill(len(text) + len(text) % 2)


def _issue(network: Path, name: str, key: Any, before: Issued | None, agent: "Ed25519PublicKey | None") -> Path:
    from cryptography import x509

    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    certificate, about = sign(network, subject(name), key, [names]), read_folder(network)
    numbers = [*(before.numbers if before else []), number(certificate)]
    record = {"certificate": pem(certificate), "numbers": numbers, **({} if agent is None else {"agent": public_pem(agent)})}
    write_private(network / AUTHORITY / ADMITTED / f"{name}.json", json.dumps(record))
    answer = network / ADMITTED / f"{name}{ANSWER}"
    with writing(answer):
        answer.parent.mkdir(exist_ok=True)
    content = {
        "certificate": pem(certificate),
        "authority": pem(authority_of(network)[0]),
        "network": {"network": about["network"], "server": about["server"], "port": about["port"], "kit": name},
        "engine": _engine(about, name),
        **({} if agent is None else {"agent": vouched(network, name, agent)}),
    }
    write_text(answer, json.dumps(content, indent=2) + "\n")
    return answer


def _engine(about: dict[str, Any], name: str) -> dict[str, Any]:
    """Return NVFlare's settings of a site, as its own tool writes them."""
    service = {"target": f"{about['server']}:{about['port']}", "scheme": "tcp"}
    files = {"ssl_private_key": "client.key", "ssl_cert": "client.crt", "ssl_root_cert": "rootCA.pem"}
    return {
        "format_version": 2,
        "servers": [{"name": about["network"], "service": service, "identity": SERVER}],
        "client": {**files, "fqsn": name, "is_leaf": True, "connection_security": "mtls"},
    }
