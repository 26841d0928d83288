"""Prompts that language models write: critiques at clients, edits at the server, scores as in every search."""

import json

import pytest
from prompted import METHOD, place_rows, prompting_job
from scripted_endpoint import endpoint

from fedtailor.errors import SettingError
from fedtailor.prompting.endpoint import VARIABLE
from fedtailor.running import run

CHANGES = {"protocol__method": {**METHOD, "kind": "textual-gradient", "proposals": 2}}
CRITIQUE = "It does not say which kinds of places there are, so that rivers and towns are mixed up. "


def script(critique):
    """Return an endpoint's answers; {texts} in a critique stands for the texts that the model was shown."""

    def answer(body):
        system, asked = (message["content"] for message in body["messages"])
        if "Right category" in asked:
            return critique.format(
                texts=" ".join(line.removeprefix("Text: ") for line in asked.splitlines() if line.startswith("Text: "))
            )
        return "They miss the kinds." if "sum up" in system else "1. Is it a river?\n2. Is it a town?\n3. Too many."

    return answer


def carried(backbone, folder, monkeypatch, url, **changes):
    (folder / "mine.yaml").write_text(f"url: {url}\nmodel: small\n")
    monkeypatch.setenv(VARIABLE, str(folder / "mine.yaml"))
    return run(prompting_job(backbone, **CHANGES, **changes), data=place_rows(), out=folder / "run")


def test_edits_of_the_critiques_are_scored_with_the_others(tiny_backbone_folder, tmp_path, monkeypatch):
    with endpoint(script(4 * CRITIQUE + "{texts}")) as (url, came):
        made = carried(tiny_backbone_folder, tmp_path, monkeypatch, url)
    first = made.history.iloc[0]
    assert (first["critiques"], first["proposed"]) == (3, 2)  # of 3 clients; the third line is one too many
    assert made.history.iloc[1]["candidates"] == 2 + 2 + 2  # parents, children by edits, proposals
    asked = [one["messages"][1]["content"] for one in came]
    of_clients = [text for text in asked if "Right category" in text]
    assert len(of_clients) == 3
    assert all("The inn" in text for text in of_clients)  # a client's own model sees its examples
    others = " ".join(text for text in asked if "Right category" not in text)
    assert "rivers and towns are mixed up" in others
    assert "The inn" not in others  # no other does
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest["up"]["critique"]["facts"]["critique"]["reveals"] == "critiques"
    rows = made.history
    assert rows["down_bytes"].iloc[0] > 0


def test_a_critique_of_examples_alone_is_not_sent(tiny_backbone_folder, tmp_path, monkeypatch):
    with endpoint(script("It fails on {texts}")) as (url, came):
        made = carried(tiny_backbone_folder, tmp_path, monkeypatch, url)
    assert made.history.iloc[0]["critiques"] == 0
    assert all("Right category" in one["messages"][1]["content"] for one in came)  # the server had nothing to ask for
    assert made.summary["stopped_by"] == "search"


def test_without_an_endpoint_at_the_server_nothing_begins(tiny_backbone_folder, tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(SettingError, match="needs a language model at the server"):
        run(prompting_job(tiny_backbone_folder, **CHANGES), data=place_rows(), out=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.lock"]


def test_a_job_cannot_name_an_endpoint(tiny_backbone_folder):
    method = {**CHANGES["protocol__method"], "url": "http://elsewhere"}
    with pytest.raises(SettingError, match="url"):
        prompting_job(tiny_backbone_folder, protocol__method=method)
