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


def test_a_site_says_what_it_permits_and_what_it_does_not_report(fedtailor, kit):
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "share: [passages]",
            "allows.yaml: share is one of passages, snippets, answers, scores, embeddings, any; got ['passages']",
        ),
        ("share: all", "share is one of"),
        ("shares: any", "allows.yaml: 'shares' is not known here; known are share, per_minute, per_day"),
        ("- share", "allows.yaml is a mapping of share, per_minute, per_day"),
        ("per_day: many", "allows.yaml: per_day is a number of questions"),
    ],
)
def test_what_a_site_allows_of_its_documents_is_said_or_refused_by_name(fedtailor, kit, text, words):
    join = ["site", "join", kit, "--data", kit.parent / "own.jsonl", "--permit", "retrieval", "--only-write"]
    code, out, _ = fedtailor(*join)
    assert (code, "of documents at most scores leave" in " ".join(out.split())) == (0, True)
    (kit / "local" / "allows.yaml").write_text(text)
    code, _, err = fedtailor(*join)
    assert code == 2
    assert words in " ".join(err.split())


def test_data_that_are_not_there_any_more_are_said(fedtailor, kit):
    data = kit.parent / "own.jsonl"
    assert "no such file" not in fedtailor("site", "join", kit, "--data", data, "--only-write")[1]
    data.unlink()
    code, out, _ = fedtailor("site", "join", kit, "--only-write")
    assert code == 0
    assert "own.jsonl: there is no such file or folder now; a job is refused until there is" in " ".join(out.split())


def test_status_says_until_when_certificates_are_valid(fedtailor, tmp_path, monkeypatch):
    pytest.importorskip("nvflare")
    from contextlib import nullcontext
    from datetime import UTC, datetime, timedelta
    from types import SimpleNamespace

    from fedtailor.federation.nvflare import administration
    from fedtailor.network.kit import authority, kits
    from fedtailor.network.kit.network_file import Network

    kits.make_kits(Network(name="n", sites=("north", "south")), tmp_path / "n")
    server = SimpleNamespace(connected=lambda: {"north": datetime.now(UTC).timestamp()})
    monkeypatch.setattr(administration, "ServerSession", lambda kit, user: nullcontext(server))
    soon = datetime.now(UTC) + timedelta(days=5, hours=1)
    real = authority.certificate_ends
    monkeypatch.setattr(authority, "certificate_ends", lambda network: {**real(network), "south": soon})
    code, out, err = fedtailor("net", "status", tmp_path / "n")
    assert code == 0
    assert f"{soon:%Y-%m-%d}" in out
    assert "note: the certificate of south ends in 5 days, on" in err
    assert "north" not in err
