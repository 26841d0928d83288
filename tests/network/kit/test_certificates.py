"""A site that cannot join says why, before anything starts."""

import shutil
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec

import pytest

from fedtailor.errors import SettingError
from fedtailor.network.kit import certificates
from fedtailor.network.kit.certificates import check_certificates, check_server
from fedtailor.network.kit.engine_settings import SERVER
from fedtailor.network.kit.kits import kit_role, make_kits
from fedtailor.network.kit.network_file import Network

pytestmark = pytest.mark.skipif(find_spec("nvflare") is None, reason="NVFlare is not installed: pip install 'fedtailor[net]'")


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """Return the folders of two networks, each with a site north."""
    made = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    for folder in made:
        make_kits(Network(name="net", host="127.0.0.1", sites=("north",)), folder)
    return made


@pytest.fixture
def kit(nets, tmp_path):
    shutil.copytree(nets[0] / "north", tmp_path / "north")
    return tmp_path / "north"


def check(kit, days=1):
    check_certificates(kit, kit_role(kit), "site", datetime.now(UTC) + timedelta(days=days))


def test_kits_are_valid(nets, kit):
    check(kit)
    check_certificates(nets[0] / "server", kit_role(nets[0] / "server"), SERVER)


def test_expired_and_not_yet_valid_name_the_dates_and_the_remedy(kit):
    with pytest.raises(SettingError, match=r"the certificate expired on 20\d\d-.* net renew NET"):
        check(kit, days=365)
    with pytest.raises(SettingError, match=r"the certificate is valid from .* set the clock"):
        check(kit, days=-365)


@pytest.mark.parametrize(
    ("strange", "words"),
    [
        (["rootCA.pem"], "the certificate is of another federation than the kit's rootCA.pem; copy the whole kit"),
        (["client.crt"], "the certificate is of another federation"),
        (["client.key"], "client.key does not belong to client.crt"),
    ],
)
def test_files_of_another_federation_are_named(nets, kit, strange, words):
    for name in strange:
        shutil.copy(nets[1] / "north" / "startup" / name, kit / "startup" / name)
    with pytest.raises(SettingError, match=words):
        check(kit)


@pytest.mark.parametrize("damage", ["", "no certificate"])
def test_an_unreadable_kit_is_named(kit, damage):
    (kit / "startup" / "client.crt").write_text(damage)
    with pytest.raises(SettingError, match=r"cannot be read .* copy the whole kit again"):
        check(kit)


@pytest.fixture
def server(request, nets):
    """Return the port of a TLS server with the certificates of a network's server, which answers one connection."""
    startup = nets[request.param] / "server" / "startup"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=startup / "rootCA.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(startup / "server.crt", startup / "server.key")
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = listener.accept()
        try:
            with context.wrap_socket(connection, server_side=True) as line:
                line.recv(1)
        except OSError:
            connection.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    thread.join(10)
    listener.close()


@pytest.mark.parametrize("server", [0], indirect=True)
def test_the_own_server_is_found(kit, server, monkeypatch):
    monkeypatch.setattr(certificates, "PROBE_S", 2.0)
    assert check_server(kit, {**kit_role(kit), "port": server}) == ""


@pytest.mark.parametrize("server", [1], indirect=True)
def test_a_server_of_another_federation_is_named(kit, server):
    with pytest.raises(SettingError, match=f"the server at 127.0.0.1:{server} is of another federation"):
        check_server(kit, {**kit_role(kit), "port": server})


@pytest.mark.parametrize("server", [1], indirect=True)
def test_a_server_that_does_not_take_the_certificate_is_named(nets, kit, server):
    shutil.copy(nets[1] / "north" / "startup" / "rootCA.pem", kit / "startup" / "rootCA.pem")
    with pytest.raises(SettingError, match=r"does not take this site's certificate .*unknown ca"):
        check_server(kit, {**kit_role(kit), "port": server})


def test_a_server_that_is_not_there_is_said_and_waited_for(kit):
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
    assert "cannot be reached (Connection refused)" in check_server(kit, {**kit_role(kit), "port": port})
