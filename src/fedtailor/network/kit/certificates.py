"""What can be seen of a kit's certificates before its engine starts, which would try for ever without a word."""

import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...errors import SettingError
from .engine_settings import SERVER

PROBE_S = 5.0  # for the server to answer, and again for what it says to our certificate
RENEW = "who runs the network renews it (fedtailor net renew NET), and what it writes for a site goes into the site's kit"
WARN_DAYS = 30
AUTHORITY_FILE = "rootCA.pem"


def check_certificates(kit: Path, about: dict[str, Any], role: str, now: datetime | None = None) -> None:
    """Raise SettingError, with the remedy, unless the kit's certificate is valid now, is of its federation, and has its key beside it.

    Args:
        about: what the kit says of itself; see `kits.kit_role`.
        role: "server" or "site".
        now: for tests; else this machine's clock.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    startup, now = kit / "startup", now or datetime.now(UTC)
    stem = "server" if role == SERVER else "client"
    try:
        ours = load_pem_x509_certificate((startup / f"{stem}.crt").read_bytes())
        authority = load_pem_x509_certificate((startup / AUTHORITY_FILE).read_bytes())
        key = load_pem_private_key((startup / f"{stem}.key").read_bytes(), None)
    except (OSError, ValueError, TypeError) as fault:
        raise SettingError(
            f"{startup}: certificate or key cannot be read ({fault}); copy the whole kit again from the server"
        ) from None
    for what, found in (("certificate", ours), ("federation's certificate", authority)):
        begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
        if now > ends:
            raise SettingError(
                f"{kit}: the {what} expired on {ends:%Y-%m-%d}, and this machine's date is {now:%Y-%m-%d}; {RENEW}"
            )
        if now < begins:
            raise SettingError(
                f"{kit}: the {what} is valid from {begins:%Y-%m-%d %H:%M} UTC, and this machine's clock says {now:%Y-%m-%d %H:%M} UTC; set the clock"
            )
    try:
        ours.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        raise SettingError(
            f"{kit}: the certificate is of another federation than the kit's {AUTHORITY_FILE}; copy the whole kit of {about['network']} again from the server"
        ) from None
    if key.public_key() != ours.public_key():
        raise SettingError(f"{kit}: {stem}.key does not belong to {stem}.crt; copy the whole kit again from the server")


def expiry_lines(file: Path, now: datetime | None = None) -> list[str]:
    """Return a line if a certificate ends within WARN_DAYS."""
    from cryptography.x509 import load_pem_x509_certificate

    return ending(file.name, load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc, now)


def ending(what: str, ends: datetime, now: datetime | None = None) -> list[str]:
    """Return a line if the certificate of this name has ended, or ends within WARN_DAYS."""
    left = (ends - (now or datetime.now(UTC))).days
    if left >= WARN_DAYS:
        return []
    when = f"ends in {left} days, on" if left >= 0 else "ended on"
    return [f"the certificate {what} {when} {ends:%Y-%m-%d}; {RENEW}"]


def check_server(kit: Path, about: dict[str, Any]) -> str:
    """Return why the server cannot be reached now, which may change; "" if it answers.

    Raises:
        SettingError: if the server is of another federation, or does not take this site's certificate.
    """
    startup, place = kit / "startup", f"{about['server']}:{about['port']}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # NVFlare's servers are all named "server"; the authority is the federation's own
    context.load_verify_locations(startup / AUTHORITY_FILE)
    context.load_cert_chain(startup / "client.crt", startup / "client.key")
    shaken = False
    try:
        with socket.create_connection((about["server"], about["port"]), PROBE_S) as plain, context.wrap_socket(plain) as line:
            shaken = True
            line.settimeout(PROBE_S / 5)  # a server that has nothing against it says nothing
            if line.recv(1):  # with TLS 1.3 the server judges our certificate after the handshake
                return ""
            raise SettingError(
                f"the server at {place} ends connections with this site's certificate: it was revoked, or has too many connections from here; ask who "
                "runs it"
            )
    except TimeoutError as fault:
        return "" if shaken else f"the server at {place} cannot be reached ({fault})"
    except ssl.SSLCertVerificationError as fault:
        raise SettingError(
            f"the server at {place} is of another federation than this kit, or its certificate ended ({fault.verify_message}); ask who runs it for the kit of today"
        ) from None
    except ssl.SSLError as fault:
        if "ALERT" in (fault.reason or ""):
            raise SettingError(
                f"the server at {place} does not take this site's certificate ({(fault.reason or '').replace('_', ' ').lower()}); ask who runs it for the kit of today"
            ) from None
        return f"no TLS server answers at {place} ({fault.reason})"
    except OSError as fault:
        return f"the server at {place} cannot be reached ({fault.strerror or fault})"
