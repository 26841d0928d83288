"""What a machine may lack for a network: NVFlare of the right release, or the right to write. Each command says so in a line and ends with 2."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("nvflare")

from fedtailor.network.kit.authority import make_network
from fedtailor.network.kit.network_file import Network
from fedtailor.network.kit.site_file import SiteFile
from fedtailor.network.kit.site_key import make_request


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder, with blanks in its name, of a network with one site, and of what one types beside it."""
    folder = tmp_path_factory.mktemp("a network of ours")
    make_network(Network(name="n", host="localhost", sites=("north",)), folder / "n")
    (folder / "own.jsonl").write_text('{"input": "a", "target": "b"}\n')
    (folder / "other.yaml").write_text("server: localhost\nsites: [east]\n")
    SiteFile(data=(str(folder / "own.jsonl"),)).write(folder / "n" / "north")
    make_request("south", folder / "south")
    return folder


ENGINE = [
    ["net", "init", "other.yaml"],
    ["net", "serve", "n"],
    ["net", "status", "n"],
    ["net", "push-backbone", "n", "smollm2-135m"],
    ["site", "join", "n/north"],
    ["site", "check", "n/north"],
    ["run", "JOB", "--on", "n"],
]


@pytest.mark.parametrize("found", ["", "2.8.1", "2.10.0"])
@pytest.mark.parametrize("words", ENGINE, ids=lambda words: "-".join(words[:2]))
def test_without_the_right_nvflare(  # noqa: PLR0917
    fedtailor, place, write_job, monkeypatch, words, found
):
    from importlib import metadata, util

    real_spec, real_version = util.find_spec, metadata.version
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: real_spec(name, *rest) if found or name != "nvflare" else None
    )
    monkeypatch.setattr("importlib.metadata.version", lambda name: found if name == "nvflare" else real_version(name))
    job = write_job()
    monkeypatch.chdir(place)
    code, _, err = fedtailor(*(job if word == "JOB" else word for word in words))
    assert code == 2
    said = " ".join(err.split())
    assert (f"need NVFlare 2.9, and {found} is installed" if found else "need NVFlare, which is not installed") in said
    assert "pip install 'fedtailor[net]'" in said


TYPED = {
    "net init": ["net", "init", "other.yaml"],
    "net serve": ["net", "serve", "n"],
    "net admit": ["net", "admit", "n", "south/south.request.pem"],
    "net revoke": ["net", "revoke", "n", "north"],
    "net renew": ["net", "renew", "n"],
    "site request": ["site", "request", "west"],
    "site join": ["site", "join", "n/north", "--data", "own.jsonl", "--only-write"],
}
TYPE = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from fedtailor.network.sandbox.limits import drop_capabilities
drop_capabilities()  # who is root may write anywhere
from fedtailor.cli import main
found = {}
for name, words in json.loads(sys.argv[1]).items():
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(words)
        code = 0
    except SystemExit as end:
        code = end.code
    found[name] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(found))
"""


def test_without_the_right_to_write(place):
    folders = [place, *(path for path in place.rglob("*") if path.is_dir())]
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", TYPE, json.dumps(TYPED)], cwd=place, capture_output=True, text=True, check=True, timeout=300
        )
    finally:
        for folder in folders:
            folder.chmod(0o700)
    for name, (code, out, err) in json.loads(done.stdout.splitlines()[-1]).items():
        said = " ".join((out + err).split())
        assert code == 2, (name, said)
        assert "Permission denied" in said, (name, said)
        assert "check who owns the file or folder and its mode" in said
        assert "Traceback" not in said
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
