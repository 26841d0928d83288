"""Networks and kits."""

import json
from importlib.util import find_spec

import pytest

from fedtailor.errors import SettingError
from fedtailor.network.command import processes
from fedtailor.network.command.job_folder import job_folder
from fedtailor.network.kit import kits
from fedtailor.network.kit.engine_settings import prepare
from fedtailor.federation.nvflare.app import OURS, SERVER, THEIRS, prepare
from fedtailor.network.kit.kits import Network, NetworkMissing, admin_kit, kit_role, make_kits, read_network

needs_engine = pytest.mark.skipif(find_spec("nvflare") is None, reason="NVFlare is not installed: pip install 'fedtailor[net]'")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sites: a", "sites is a list of names"),
        ("sites: []", "at least one"),
        ("sites: [a, a]", "each site once"),
        ("sites: [hub]", "no name of a site"),
        ("sites: [authority]", "no name of a site"),
        ("sites: [nörth]", "letters from a to z"),
        ("{sites: [a], hub: 'my hub'}", "host name"),
        ("sites: ['../x']", "no name of a site"),
        ("{sites: [a], port: 99999}", "port is a number"),
        ("{sites: [a], hub: ''}", "host name"),
        ("{sites: [a], server: x}", "server is no setting of a network"),
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
    (tmp_path / "hospitals.yaml").write_text("{hub: hub.example.org, sites: [north, south]}")
    assert read_network(tmp_path / "hospitals.yaml") == Network(
        name="hospitals", host="hub.example.org", sites=("north", "south")
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
    assert resources["class_allow_list"][0] == f"fedtailor.network.job_ends.{'AtHub' if role == SERVER else 'AtSite'}"
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
    assert (list(logs["loggers"]), logs["loggers"]["root"]) == (["root"], {"level": "WARNING", "handlers": ["logFileHandler"]})
    assert [(each["level"], each["filename"]) for each in logs["handlers"].values()] == [("WARNING", "log.txt")]


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
    (kit / "network.json").write_text(json.dumps({"network": "n", "hub": "h", "port": 1, "kit": "hub"}))
    monkeypatch.setattr(processes.subprocess, "Popen", lambda command, **settings: started.update(settings, command=command))
    monkeypatch.setenv("TMPDIR", "/tmp/of-the-system")
    processes.engine_process(kit)
    assert started["env"]["TMPDIR"] == str(kit / "work" / "tmp")
    assert started["stdout"].name == str(kit / "engine.log")
    assert started["command"][started["command"].index("-m", 3) + 1] == str(kit)  # the workspace, with the folders of jobs


def test_what_is_handed_in_is_settings_and_no_code(tmp_path):
    folder = job_folder(tmp_path / "job", {"run": "a"}, ["site-1"])
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [
        "hub/config/config_fed_server.json",
        "hub/config/job.json",
        "meta.json",
        "site/config/config_fed_client.json",
    ]
    assert '"run"' not in (folder / "site/config/config_fed_client.json").read_text()
    assert json.loads((folder / "meta.json").read_text())["deploy_map"] == {"hub": ["server"], "site": ["site-1"]}


@needs_engine
def test_kits_hold_keys_for_their_owner_and_a_site_can_be_added(tmp_path):
    folder = tmp_path / "n"
    made = make_kits(Network(name="n", sites=("a",)), folder)
    assert [kit.name for kit in made] == ["hub", "admin", "a"]
    assert folder.joinpath("a").stat().st_mode & 0o077 == 0
    key = (folder / "a" / "startup" / "client.key").read_bytes()
    assert [kit.name for kit in make_kits(Network(name="n", sites=("a", "b")), folder)] == ["b"]
    assert (folder / ".gitignore").read_text() == "*\n"  # it holds keys
    assert (folder / "a" / "startup" / "client.key").read_bytes() == key
    roots = {(folder / kit / "startup" / "rootCA.pem").read_bytes() for kit in ("hub", "a", "b")}
    assert len(roots) == 1
    assert kit_role(folder / "b") == {"network": "n", "hub": "localhost", "port": kits.PORT, "kit": "b"}
    assert kit_role(folder / "hub")["sites"] == ["a", "b"]
    assert admin_kit(folder) == (folder / "admin").resolve()
    with pytest.raises(SettingError, match="no folder of a network"):
        admin_kit(folder / "a")
    with pytest.raises(SettingError, match="take a new folder"):
        make_kits(Network(name="n", host="elsewhere", sites=("a",)), folder)
