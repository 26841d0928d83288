"""The commands of networks, as far as they go without one."""

import json

import pytest


@pytest.fixture
def kit(tmp_path):
    """Return a site's kit without certificates."""
    folder = tmp_path / "north"
    folder.mkdir()
    told = {"network": "hospitals", "server": "server.example.org", "port": 8102, "kit": "north"}
    (folder / "network.json").write_text(json.dumps(told))
    (tmp_path / "own.jsonl").write_text('{"notes": "a", "report": "b"}\n')
    return folder


def test_a_site_says_what_it_permits_and_what_it_does_not_tell(fedtailor, kit):
    data = kit.parent / "own.jsonl"
    code, out, _ = fedtailor("site", "join", kit, "--data", data, "--column", "input=notes", "--rounds", 5, "--only-write")
    assert code == 0
    assert "north of network hospitals, server at server.example.org:8102" in out
    assert "at most 5 rounds a run" in out
    assert "does not report label-counts" in out
    assert "does not take a backbone" in out
    file = json.loads((kit / "local" / "fedtailor.json").read_text())
    assert (file["data"], file["columns"], file["policy"]["rounds"]) == ([str(data)], {"input": "notes"}, 5)
    code, out, _ = fedtailor("site", "join", kit, "--permit", "split", "--test-share", 0, "--gigabytes", 0.5, "--only-write")
    assert code == 0
    assert file["policy"]["backbone_from_server"] is False
    for given, wanted in (["--backbone-from-server"], True), ([], True), (["--no-backbone-from-server"], False):
        assert fedtailor("site", "join", kit, *given, "--only-write")[0] == 0
        assert json.loads((kit / "local" / "fedtailor.json").read_text())["policy"]["backbone_from_server"] is wanted
    again = json.loads((kit / "local" / "fedtailor.json").read_text())
    assert again["policy"]["protocols"] == ["split"]
    assert again["policy"]["bytes_per_day"] == 500_000_000
    assert (again["test_share"], again["data"], again["columns"], again["policy"]["rounds"]) == (
        0,
        [str(data)],
        {"input": "notes"},
        5,
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["site", "join", "KIT", "--only-write"], "say where your examples are"),
        (["site", "join", "KIT", "--data", "nowhere.jsonl", "--only-write"], "there is no such file"),
        (["site", "join", "KIT", "--data", "DATA", "--column", "input", "--only-write"], "is not NAME=VALUE"),
        (["site", "join", "KIT", "--data", "DATA", "--reports", "names", "--only-write"], "policy.reports names 'names'"),
        (["site", "join", "KIT", "--data", "DATA", "--rounds", "0", "--only-write"], "policy.rounds is a whole number from 1"),
        (["site", "join", "KIT", "--data", "DATA", "--test-share", "1", "--only-write"], "test_share is a share"),
        (["site", "join", "DATA", "--data", "DATA", "--only-write"], "is no kit"),
        (["site", "join", "KIT", "--tell", "examples"], "fedtailor site join: --tell is now called --reports; use that name"),
        (["site", "join", "KIT", "--no-backbone-from-hub"], "now called --no-backbone-from-server"),
        (["site", "join", "SERVER", "--data", "DATA", "--only-write"], "is the server's kit, and no site's"),
        (
            ["site", "join", "KIT", "--data", "DATA", "--permit", "avergaing", "--only-write"],
            "policy.protocols names 'avergaing'",
        ),
        (["net", "serve", "KIT"], "is the kit of north"),
        (["net", "status", "KIT"], "is no folder of a network"),
        (["net", "push-backbone", "KIT", "smollm2-135m"], "is no folder of a network"),
        (["net", "init", "nowhere.yaml"], "there is no such file"),
        (["run", "JOB", "--on", "KIT"], "is no folder of a network"),
        (["run", "JOB", "--without", "north"], "name the network with --on"),
        (["run", "JOB", "--on", "KIT", "--baseline", "central"], "leave one of --baseline and --on out"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(  # noqa: PLR0917
    fedtailor, kit, write_job, monkeypatch, words, told
):
    monkeypatch.setattr("fedtailor.network.command.submit.check_installed", lambda: None)
    monkeypatch.setattr("fedtailor.network.kit.kits.check_installed", lambda: None)
    (kit.parent / "server").mkdir()
    (kit.parent / "server" / "network.json").write_text(
        json.dumps({**json.loads((kit / "network.json").read_text()), "kit": "server"})
    )
    places = {"KIT": kit, "SERVER": kit.parent / "server", "DATA": kit.parent / "own.jsonl", "JOB": write_job()}
    code, _, err = fedtailor(*(places.get(word, word) for word in words))
    assert code == 2
    assert told in " ".join(err.split())


def test_without_the_engine_the_commands_say_what_to_install(fedtailor, kit, write_job, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (kit.parent / "hospitals.yaml").write_text("sites: [north]")
    for words in (["net", "init", kit.parent / "hospitals.yaml"], ["net", "status", kit], ["run", write_job(), "--on", kit]):
        code, _, err = fedtailor(*words)
        assert code == 2
        assert "pip install 'fedtailor[net]'" in " ".join(err.split())
