"""Keys that are made at the site: no private key travels, and whoever is admitted, renewed or revoked is so by name and key."""

import json
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509 import load_pem_x509_certificate

from fedtailor.errors import OffManifest, SettingError
from fedtailor.network.kit.agent_key import CERTIFICATE, KEY, read_identity
from fedtailor.network.kit.authority import admit, certificate_ends, issued, make_network, renew, revoke, revoked_numbers
from fedtailor.network.kit.certificates import check_certificates, ending, expiry_lines
from fedtailor.network.kit.kits import kit_role, make_kits, read_folder
from fedtailor.network.kit.network_file import Network
from fedtailor.network.kit.site_key import make_request, take_answer

pytest.importorskip("nvflare")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a network without sites of its own but one, as `net init` makes it."""
    folder = tmp_path_factory.mktemp("keys") / "n"
    make_kits(Network(name="n", host="server.example.org", sites=("here",)), folder)
    return folder


@pytest.fixture
def network(made, tmp_path):
    import shutil

    return shutil.copytree(made, tmp_path / "n")


def bring(answer, kit):
    (kit / answer.name).write_text(answer.read_text())


def test_a_site_makes_its_key_and_joins_with_what_comes_back(network, tmp_path):
    kit = tmp_path / "a site" / "north"
    request = make_request("north", kit)
    key = (kit / "startup" / "client.key").read_text()
    assert (kit / "startup" / "client.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(SettingError, match=r"waits for its certificate: send .*north\.request\.pem"):
        take_answer(kit)
    bring(admit(network, request), kit)
    assert take_answer(kit) == "north.admitted.json"
    assert take_answer(kit) == ""  # nothing new
    told = kit_role(kit)
    assert told == {"network": "n", "server": "server.example.org", "port": 8102, "kit": "north"}
    check_certificates(kit, told, "site")
    settings = json.loads((kit / "startup" / "fed_client.json").read_text())
    theirs = json.loads((network / "here" / "startup" / "fed_client.json").read_text())
    theirs["client"]["fqsn"] = "north"
    assert settings == theirs  # as NVFlare's own tool writes them
    assert read_folder(network)["sites"] == ["here", "north"]
    assert [kit_role(network / name)["sites"] for name in ("server", "admin")] == [["here", "north"]] * 2
    line = key.splitlines()[1]
    assert all(line not in path.read_text(errors="replace") for path in network.rglob("*") if path.is_file())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it is a pair that TLS takes
    context.load_cert_chain(kit / "startup" / "client.crt", kit / "startup" / "client.key")
    make_kits(Network(name="n", host="server.example.org", sites=("here", "also")), network)
    assert read_folder(network)["sites"] == ["here", "also", "north"]  # who was admitted stays


def test_a_name_belongs_to_one_key(network, tmp_path):
    first, second = (make_request("north", tmp_path / folder) for folder in ("a", "b"))
    admit(network, first)
    admit(network, first)  # again: a new certificate for the same key
    with pytest.raises(SettingError, match="north is a site of this network with another key"):
        admit(network, second)
    with pytest.raises(SettingError, match="here is a site of this network with another key"):
        admit(network, make_request("here", tmp_path / "c"))
    revoke(network, "north")
    assert len(revoked_numbers(network)["north"]) == 2
    with pytest.raises(SettingError, match="the key of north was revoked"):
        admit(network, first)
    admit(network, second)
    assert set(issued(network, "north").numbers) - set(revoked_numbers(network)["north"])


def test_what_is_no_request_or_no_answer_is_refused(network, tmp_path):
    request = make_request("north", tmp_path / "north")
    text = request.read_text()
    for number, wrong in enumerate(("", "x", text[: len(text) // 2], text.replace("A", "B", 3))):
        (tmp_path / f"{number}.pem").write_text(wrong)
        with pytest.raises(SettingError, match=r"no request of a site|not signed with its own key"):
            admit(network, tmp_path / f"{number}.pem")
    with pytest.raises(SettingError, match="has a key already"):
        make_request("north", tmp_path / "north")
    for name in ("server", "admin", "a/b", "..", "", "hub"):
        with pytest.raises(SettingError, match="is no name of a site"):
            make_request(name, tmp_path / "other")
    other = make_request("south", tmp_path / "south")
    bring(admit(network, other), tmp_path / "north")
    with pytest.raises(SettingError, match=r"is for another key than that of .*north"):
        take_answer(tmp_path / "north")
    (tmp_path / "south" / "south.admitted.json").write_text("{}")
    with pytest.raises(SettingError, match="cannot be read"):
        take_answer(tmp_path / "south")


def test_certificates_are_renewed_for_the_keys_that_are_there(network, tmp_path):
    kit = tmp_path / "north"
    bring(admit(network, make_request("north", kit)), kit)
    take_answer(kit)
    keys = {path: path.read_text() for path in [*network.rglob("*.key"), *kit.rglob("*.key")]}
    before = {path: path.read_text() for path in network.rglob("*.crt")}
    authority = load_pem_x509_certificate((network / "server" / "startup" / "rootCA.pem").read_bytes())
    answers = renew(network)
    assert [answer.name for answer in answers] == ["here.admitted.json", "north.admitted.json"]
    assert all(path.read_text() == text for path, text in keys.items())
    assert all(path.read_text() != text for path, text in before.items())
    ends = load_pem_x509_certificate((network / "server" / "startup" / "rootCA.pem").read_bytes()).not_valid_after_utc
    assert ends > authority.not_valid_after_utc  # so has the network's own
    assert (kit / "startup" / "client.crt").is_file()
    old = load_pem_x509_certificate((kit / "startup" / "client.crt").read_bytes())
    new = load_pem_x509_certificate((network / "server" / "startup" / "server.crt").read_bytes())
    old.verify_directly_issued_by(load_pem_x509_certificate((network / "server" / "startup" / "rootCA.pem").read_bytes()))
    new.verify_directly_issued_by(authority)  # old and new know each other, until the old one ends
    bring(answers[1], kit)
    assert take_answer(kit) == "north.admitted.json"
    for place, role in ((kit, "site"), (network / "here", "site"), (network / "server", "server")):
        check_certificates(place, kit_role(place), role)
    revoke(network, "here")
    assert [answer.name for answer in renew(network)] == ["north.admitted.json"]


def test_an_end_that_is_near_is_said(network):
    file = network / "server" / "startup" / "server.crt"
    assert expiry_lines(file) == []
    line = expiry_lines(file, datetime.now(UTC) + timedelta(days=340))[0]
    assert "server.crt ends in 19 days, on " in line
    assert "fedtailor net renew NET" in line


def test_until_when_certificates_are_valid_is_known_where_the_authority_is(network, tmp_path):
    admit(network, make_request("north", tmp_path / "north"))
    ends = certificate_ends(network)
    assert set(ends) == {"server", "admin", "here", "north"}
    assert all(300 < (end - datetime.now(UTC)).days <= 360 for end in ends.values())
    assert certificate_ends(network / "admin") == {}
    assert ending("of north", ends["north"]) == []
    assert "the certificate of north ends in 9 days, on " in ending("of north", datetime.now(UTC) + timedelta(days=9, hours=1))[0]
    assert "the certificate of north ended on " in ending("of north", datetime.now(UTC) - timedelta(days=1))[0]


def test_an_agents_key_stays_at_the_site_and_the_authority_vouches_for_it(network, tmp_path):
    kit, south = tmp_path / "north", tmp_path / "south"
    request, other = make_request("north", kit), make_request("south", south)
    assert (kit / KEY).stat().st_mode & 0o777 == 0o600
    assert not (kit / "startup" / "agent.key").exists()  # the engine gets a copy of startup/
    with pytest.raises(SettingError, match=r"local/agent.crt cannot be used .*fedtailor site request NAME --out"):
        read_identity("north", kit)
    for each, folder in ((request, kit), (other, south)):
        bring(admit(network, each), folder)
        take_answer(folder)
    north, source = read_identity("north", kit), read_identity("south", south)
    north.verify("south", source.proof, source.sign(b"words"), b"words")
    with pytest.raises(OffManifest):
        north.verify("north", source.proof, source.sign(b"words"), b"words")
    with pytest.raises(SettingError, match="another one's"):
        read_identity("east", kit)
    (south / KEY).rename(kit / KEY)
    with pytest.raises(SettingError, match="is for another key"):
        read_identity("north", kit)


def test_a_kit_of_an_earlier_release_gets_a_key_by_asking_again(network, tmp_path):
    kit = tmp_path / "north"
    bring(admit(network, make_request("north", kit)), kit)
    take_answer(kit)
    key = (kit / "startup" / "client.key").read_text()
    for name in (KEY, CERTIFICATE):
        (kit / name).unlink()
    bring(admit(network, make_request("north", kit)), kit)
    take_answer(kit)
    read_identity("north", kit)
    assert (kit / "startup" / "client.key").read_text() == key
    with pytest.raises(SettingError, match=r"here/local/agent.key cannot be read.*net renew"):
        read_identity("here", network / "here")  # made when there were none, with its keys inside
    renew(network)
    read_identity("here", network / "here")
    north = [answer for answer in renew(network) if answer.name.startswith("north")]
    bring(north[0], kit)
    take_answer(kit)
    assert read_identity("north", kit).proof


def test_a_network_is_made_with_keys_for_its_agents(tmp_path):
    assert len(make_network(Network(name="n", sites=("a", "b")), tmp_path / "n")) == 4
    one, other = (read_identity(name, tmp_path / "n" / name) for name in "ab")
    one.verify("b", other.proof, other.sign(b"x"), b"x")
    assert make_network(Network(name="n", sites=("a", "b")), tmp_path / "n") == []
