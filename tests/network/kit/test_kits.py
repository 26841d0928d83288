"""Networks and kits."""

import json
import os
import subprocess
from importlib.util import find_spec

import pytest

from fedtailor.errors import SettingError
from fedtailor.network.command import processes
from fedtailor.network.command.job_folder import job_folder
from fedtailor.network.kit.engine_settings import OURS, SERVER, THEIRS, prepare
from fedtailor.network.kit.kits import NetworkMissing, admin_kit, check_installed, kit_role, make_kits, server_kit
from fedtailor.network.kit.network_file import PORT, Network, read_network
from fedtailor.storage import StorageError

needs_engine = pytest.mark.skipif(find_spec("nvflare") is None, reason="NVFlare is not installed: pip install 'fedtailor[net]'")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sites: a", "sites is a list of names"),
        ("sites: [a, a]", "each site once"),
        ("sites: [server]", "no name of a site"),
        ("sites: [authority]", "no name of a site"),
        ("sites: [nörth]", "letters from a to z"),
        ("{sites: [a], server: 'my server'}", "host name"),
        ("sites: ['../x']", "no name of a site"),
        ("{sites: [a], port: 99999}", "port is a number"),
        ("{sites: [a], server: ''}", "host name"),
        ("{sites: [a], gateway: x}", "gateway is no setting of a network"),
        ("{sites: [a], hub: x}", "hub is now called server; use that name"),
        ("[a]", "a network is a mapping"),
        ("{", "can be read"),
    ],
)
def test_a_wrong_network_is_refused(tmp_path, text, words):
    file = tmp_path / "net.yaml"
    file.write_text(text)
    with pytest.raises(SettingError, match=words):
        read_network(file)


def test_a_network_is_named_by_its_file(tmp_path):
    (tmp_path / "hospitals.yaml").write_text("{server: server.example.org, sites: [north, south]}")
    assert read_network(tmp_path / "hospitals.yaml") == Network(
        name="hospitals", host="server.example.org", sites=("north", "south")
    )
    with pytest.raises(SettingError, match="there is no such file"):
        read_network(tmp_path / "nothing.yaml")


def test_without_the_engine_a_network_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NetworkMissing, match=r"pip install 'fedtailor\[net\]'"):
        make_kits(Network(name="n", sites=("a",)), tmp_path / "n")


@pytest.mark.parametrize("role", [SERVER, "site"])
def test_a_kit_lets_our_classes_run_and_nothing_else(tmp_path, role):
    prepare(tmp_path, role)
    resources = json.loads((tmp_path / "local" / "resources.json").read_text())
    assert resources["class_allow_list"] == [OURS[role], THEIRS[role]]
    assert resources["class_allow_list"][0] == f"fedtailor.network.job_ends.{'AtServer' if role == SERVER else 'AtSite'}"
    assert resources["class_allow_list"][1].startswith("nvflare.collab.runtime.")
    assert resources["class_list_enforcement_mode"] == "enforce"
    assert resources["allow_log_streaming"] is False
    assert not [
        part["id"] for part in resources["components"] if "log" in part["id"] or "logging" in part["path"]
    ]  # none sends logs
    if role != SERVER:
        assert [part["id"] for part in resources["components"]] == ["resource_manager", "resource_consumer", "process_launcher"]
    rights = json.loads((tmp_path / "local" / "authorization.json").read_text())["permissions"]["project_admin"]
    assert (rights["byoc"], rights["shell_commands"], rights["submit_job"]) == ("none", "none", "any")
    assert set(rights.values()) == {"none", "any"}
    logs = json.loads((tmp_path / "local" / "log_config.json").read_text())
    handler = "logFileHandler" if role == SERVER else "printed"  # a site's engine writes into no file
    assert (list(logs["loggers"]), logs["loggers"]["root"]) == (["root"], {"level": "WARNING", "handlers": [handler]})
    files = [(each["level"], each.get("filename")) for each in logs["handlers"].values()]
    assert files == [("WARNING", "log.txt" if role == SERVER else None)]


def paths_in(told):
    """Yield all absolute paths in plain values, but the root of names."""
    if isinstance(told, dict | list):
        for inner in told.values() if isinstance(told, dict) else told:
            yield from paths_in(inner)
    elif isinstance(told, str) and told.startswith("/") and told != "/":
        yield told


@pytest.mark.parametrize("role", [SERVER, "site"])
def test_the_engine_has_fresh_settings_and_all_its_files_beside_the_kit(tmp_path, role):
    kit = tmp_path / "a kit"
    (kit / "local").mkdir(parents=True)
    (kit / "local" / "resources.json").write_text('{"class_allow_list": ["os.system"], "allow_log_streaming": true}')
    (kit / "local" / "authorization.json").write_text('{"permissions": {"project_admin": "any"}}')
    prepare(kit, role)
    resources = json.loads((kit / "local" / "resources.json").read_text())
    assert resources["class_allow_list"] == [OURS[role], THEIRS[role]]
    assert resources["allow_log_streaming"] is False
    assert json.loads((kit / "local" / "authorization.json").read_text())["permissions"]["project_admin"]["byoc"] == "none"
    assert (kit / "work" / "tmp").is_dir()
    assert all(path.startswith(str(kit)) for path in paths_in(resources))
    assert len(list(paths_in(resources))) == (2 if role == SERVER else 0)  # snapshots and jobs


def test_the_servers_engine_keeps_temporary_files_and_its_words_in_the_kit(tmp_path, monkeypatch):
    kit, started = tmp_path / "a kit", {}
    kit.mkdir()
    (kit / "network.json").write_text(json.dumps({"network": "n", "server": "h", "port": 1, "kit": "server"}))
    monkeypatch.setattr(processes.subprocess, "Popen", lambda command, **settings: started.update(settings, command=command))
    monkeypatch.setenv("TMPDIR", "/tmp/of-the-system")
    processes.engine_process(kit)
    assert started["env"]["TMPDIR"] == str(kit / "work" / "tmp")
    assert started["stdout"].name == str(kit / "engine.log")
    assert started["command"][started["command"].index("-m", 3) + 1] == str(kit)  # the workspace, with the folders of jobs


def test_what_is_submitted_is_settings_and_no_code(tmp_path):
    folder = job_folder(tmp_path / "job", {"run": "a"}, ["site-1"])
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [
        "meta.json",
        "server/config/config_fed_server.json",
        "server/config/job.json",
        "site/config/config_fed_client.json",
    ]
    assert '"run"' not in (folder / "site/config/config_fed_client.json").read_text()
    assert json.loads((folder / "meta.json").read_text())["deploy_map"] == {"server": ["server"], "site": ["site-1"]}


@needs_engine
def test_kits_hold_keys_for_their_owner_and_a_site_can_be_added(tmp_path):
    folder = tmp_path / "n"
    made = make_kits(Network(name="n", sites=("a",)), folder)
    assert [kit.name for kit in made] == ["server", "admin", "a"]
    assert folder.joinpath("a").stat().st_mode & 0o077 == 0
    key = (folder / "a" / "startup" / "client.key").read_bytes()
    assert [kit.name for kit in make_kits(Network(name="n", sites=("a", "b")), folder)] == ["b"]
    assert (folder / ".gitignore").read_text() == "*\n"  # it holds keys
    assert (folder / "a" / "startup" / "client.key").read_bytes() == key
    roots = {(folder / kit / "startup" / "rootCA.pem").read_bytes() for kit in ("server", "a", "b")}
    assert len(roots) == 1
    assert kit_role(folder / "b") == {"network": "n", "server": "localhost", "port": PORT, "kit": "b"}
    assert kit_role(folder / "server")["sites"] == ["a", "b"]
    assert admin_kit(folder) == (folder / "admin").resolve()
    with pytest.raises(SettingError, match="no folder of a network"):
        admin_kit(folder / "a")
    with pytest.raises(SettingError, match="take a new folder"):
        make_kits(Network(name="n", host="elsewhere", sites=("a",)), folder)


@needs_engine
def test_a_network_made_when_the_server_was_called_a_hub_is_read_and_grows(tmp_path):
    folder = tmp_path / "n"
    make_kits(Network(name="n", sites=("a",)), folder)
    (folder / "server").rename(folder / "hub")
    for kit in (folder, folder / "hub", folder / "admin", folder / "a"):
        told = json.loads((kit / "network.json").read_text())
        old = {"hub" if name == "server" else name: "hub" if value == "server" else value for name, value in told.items()}
        (kit / "network.json").write_text(json.dumps(old))
    assert server_kit(folder) == folder / "hub"
    assert kit_role(folder / "hub")["kit"] == SERVER
    assert kit_role(folder / "a")["server"] == "localhost"
    assert [kit.name for kit in make_kits(Network(name="n", sites=("a", "b")), folder)] == ["b"]
    assert kit_role(folder / "hub") == {**kit_role(folder / "admin"), "kit": SERVER}


@pytest.mark.parametrize("found", ["2.8.1", "2.10.0", "3.0.0"])
def test_another_release_of_nvflare_is_named(monkeypatch, found):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("importlib.metadata.version", lambda name: found)
    with pytest.raises(NetworkMissing, match=rf"need NVFlare 2\.9, and {found} is installed: pip install 'fedtailor\[net\]'"):
        check_installed()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "this is not JSON"),
        ("[1]", "network is missing or no str"),
        ('{"network": "n", "server": "localhost", "port": "8102", "kit": "north"}', "port is missing or no int"),
        ('{"network": "n", "server": "localhost", "port": 8102, "kit": 5}', "kit is missing or no str"),
        ('{"network": "n", "port": 8102, "kit": "north"}', "server is missing or no str"),
        ("\udcff", "is not UTF-8 text"),
    ],
)
def test_a_damaged_kit_is_named(tmp_path, text, words):
    file = tmp_path / "network.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(SettingError, match=words) as refused:
        kit_role(tmp_path)
    assert str(file) in str(refused.value)
    file.unlink()
    os.mkfifo(file)  # nobody writes to it
    with pytest.raises(SettingError, match="is a named pipe"):
        kit_role(tmp_path)


@needs_engine
def test_a_disk_that_is_full_while_certificates_are_made_is_named(tmp_path, monkeypatch):
    said = "Traceback ...\n  with open(path) as file:\nOSError: [Errno 28] No space left on device\n"
    monkeypatch.setattr("subprocess.run", lambda *_, **__: subprocess.CompletedProcess([], 1, stdout="", stderr=said))
    with pytest.raises(StorageError, match=f"{tmp_path / 'net'} cannot be written: the disk is full"):
        make_kits(Network(name="net", sites=("north",)), tmp_path / "net")
