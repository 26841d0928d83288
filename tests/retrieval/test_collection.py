"""Folders as clients: indexed, updated, asked and evaluated, from Python and by command."""

import json
import re

import pandas as pd
import pytest
from embedders import Hashed
from pdfs import pdf

import fedtailor
from fedtailor.cli.main import main
from fedtailor.errors import DataError, SettingError
from fedtailor.retrieval import Score, ask, collection, evaluate, index_folders, open_collection
from fedtailor.retrieval.evaluate import evaluate_alone, read_questions
from fedtailor.retrieval.tally import Known


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Return two clients' folders; the embedder of the tests stands for MiniLM."""
    monkeypatch.setattr(collection, "MiniLm", Hashed)
    north, south = tmp_path / "north", tmp_path / "south"
    north.mkdir()
    south.mkdir()
    (north / "tea.md").write_text("# About tea\n\nThe tea is hot at noon. It is cheap.")
    (north / "empty.txt").write_text("")
    (north / "photo.jpg").write_bytes(b"x")
    rows = [
        {"id": "p1", "title": "Milk", "text": "Milk is white and cold."},
        {"id": "p2", "title": "Salt", "text": "Salt is dear."},
    ]
    pd.DataFrame(rows).to_parquet(south / "rows.parquet")
    return north, south


def test_indexed_and_asked(folders, tmp_path):
    north, south = index_folders(folders, tmp_path / "index")
    assert (north.client, north.updated.passages, list(north.updated.notes)) == ("north", 1, ["empty.txt holds no text"])
    assert list(north.skipped) == ["1 not read, of a kind that is not read (.jpg): photo.jpg"]
    assert (south.client, south.updated.documents) == ("south", 2)
    (one,) = ask(tmp_path / "index", "is the tea hot at noon", top_k=2)
    assert one.answer.text == "The tea is hot at noon."
    assert (one.found.hits[0].source, one.found.hits[0].passage.title) == ("north: tea.md", "About tea")
    assert fedtailor.ask is ask
    (milk,) = ask(tmp_path / "index", ["white milk"], top_k=1)
    assert milk.found.hits[0].source == "south: rows.parquet, p1"


def test_updated_and_asked_again(folders, tmp_path):
    index_folders(folders, tmp_path / "index")
    (folders[0] / "tea.md").unlink()
    (folders[0] / "new.txt").write_text("The plum is blue.")
    north, south = index_folders([], tmp_path / "index")
    assert (list(north.updated.added), list(north.updated.removed), south.updated.embedded) == (["new.txt"], ["tea.md"], 0)
    (one,) = ask(tmp_path / "index", "tea")
    assert "north: tea.md" not in [hit.source for hit in one.found.hits]
    more = tmp_path / "more"
    more.mkdir()
    (more / "x.txt").write_text("More text.")
    (third,) = index_folders([f"west={more}"], tmp_path / "index")
    assert third.client == "west"
    assert list(open_collection(tmp_path / "index").clients) == ["north", "south", "west"]


def test_one_client_alone_can_be_asked(folders, tmp_path):
    index_folders(folders, tmp_path / "index")
    (one,) = ask(tmp_path / "index" / "south", "tea")
    assert {hit.client for hit in one.found.hits} == {"south"}


def test_refused(folders, tmp_path):
    index = tmp_path / "index"
    with pytest.raises(SettingError, match="no folder to index"):
        index_folders([], index)
    with pytest.raises(SettingError, match="two folders make the client 'north'"):
        index_folders([folders[0], f"north={folders[1]}"], index)
    with pytest.raises(SettingError, match="would lie in"):
        index_folders(folders, folders[0] / "index")
    with pytest.raises(DataError, match="is not there"):
        index_folders([tmp_path / "none"], index)
    with pytest.raises(DataError, match="no such file, to be read as a collection; fedtailor rag index"):
        open_collection(tmp_path / "none")
    index.mkdir(exist_ok=True)
    (index / "collection.json").write_text('{"format": 1, "clients": {"../x": "/"}}')
    with pytest.raises(DataError, match="has no clients that can be read"):
        open_collection(index)


def test_evaluated(folders, tmp_path):
    index_folders(folders, tmp_path / "index")
    federation = open_collection(tmp_path / "index", score=Score(kind="dense"))
    known = [
        Known(question="white and cold milk", answers=["white"], passage="p1"),
        Known(question="is the tea hot at noon", answers=["the tea is hot at noon"], passage="tea.md"),
        Known(question="salt", answers=[], passage="nobody has it"),
    ]
    found = evaluate(federation, known, collection.make_reader("best-sentence", federation.embedder), top_k=5)
    assert (found.questions, found.answerable, found.asked) == (3, 2, 2)
    assert found.texts == 3  # north has one passage, south two, and each question gets all
    assert 0 < found.down_bytes < found.up_bytes
    alone = evaluate_alone(federation, known, top_k=5)
    assert (alone["north"]["recall@1"], alone["south"]["recall@1"]) == (0.5, 0.5)  # of two that somebody can answer
    # answers: "Milk is white and cold." holds `white` among 5 words: F1 2 * 1 / (5 + 1); the other one is right
    assert found.metrics == pytest.approx(
        {"recall@1": 1, "recall@5": 1, "mrr": 1, "exact_match": 0.5, "f1": (1 / 3 + 1) / 2, "contains": 1, "supported": 1}
    )


def test_questions_of_a_file(tmp_path):
    rows = [
        {"question": "a?", "answers": "['x', \"y's\"]", "passage_id": "p1"},
        {"question": "b?", "answers": "[z", "passage_id": None},
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "q.parquet")
    first, second = read_questions(tmp_path / "q.parquet")
    assert (list(first.answers), first.passage) == (["x", "y's"], "p1")
    assert (list(second.answers), second.passage) == (["[z"], "")
    (tmp_path / "no.jsonl").write_text('{"text": "a"}')
    with pytest.raises(DataError, match="has no column 'question'; it has 'text'"):
        read_questions(tmp_path / "no.jsonl")
    (tmp_path / "none.jsonl").write_text('{"question": "a"}')
    with pytest.raises(DataError, match="nothing could be evaluated"):
        read_questions(tmp_path / "none.jsonl")


def command(*arguments):
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments)])
    return end.value.code or 0


def test_commands(folders, tmp_path, capsys, monkeypatch):
    pytest.importorskip("pypdf")
    monkeypatch.chdir(tmp_path)
    (folders[1] / "plum.pdf").write_bytes(pdf(["", "The plum is blue in May."], title="Plums"))
    assert command("rag", "index", *folders, "--out", "shops") == 0
    said = capsys.readouterr()
    assert "north: 1 documents, 1 passages (1 embedded); files: 2 new" in said.out
    assert "empty.txt holds no text" in said.err
    assert command("rag", "ask", "shops", "which plum is blue in May?", "--top-k", 2) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].strip() == "The plum is blue in May."
    assert "→ [1] south: plum.pdf, page 2 · Plums" in said
    assert "cosine" in said
    assert command("rag", "ask", "shops", "milk", "tea", "--json", "--score", "bm25") == 0
    milk, tea = json.loads(capsys.readouterr().out)
    assert (milk["sources"][0]["id"], tea["sources"][0]["client"], tea["cited"]) == ("rows.parquet:p1#0", "north", [1])
    assert (milk["asked"], milk["notes"]) == (["north", "south"], [])
    (tmp_path / "q.jsonl").write_text('{"question": "white milk", "passage_id": "p1"}')
    assert command("rag", "evaluate", "shops", "q.jsonl", "--reader", "none") == 0
    said = capsys.readouterr().out
    assert re.search(r"recall@1 +1\.000 +0\.500 +1\.000", said)  # all clients; each alone: mean, best
    assert re.search(r"2\.0 of 2 clients asked.*\n.*bytes to clients", said)
    assert command("rag", "ask", "shops", "white milk", "--share", "answers", "--router", 2, "--margin", 1) == 0
    said = capsys.readouterr()
    assert "Milk is white and cold." in said.out
    assert "plum.pdf" not in said.out
    assert "one answer a question" in said.err
    assert command("rag", "ask", "shops", "white milk", "--share", "scores", "--verify") == 2
    assert "share: scores lets none out" in capsys.readouterr().err


def test_a_client_says_in_its_own_file_what_it_allows(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("rag", "index", *folders, "--out", "shops") == 0
    (tmp_path / "shops" / "south" / "allows.yaml").write_text("share: scores\nper_day: 1\n")
    assert command("rag", "ask", "shops", "white milk") == 2
    assert "share: passages is more than client south allows, which is scores" in capsys.readouterr().err
    assert command("rag", "ask", "shops", "white milk", "--share", "scores") == 0
    said = capsys.readouterr()
    assert "[1] south" in said.out
    assert "cold" not in said.out
    assert (tmp_path / "shops" / "south" / "queries.jsonl").read_text().count("white milk") == 1
    assert command("rag", "ask", "shops", "white milk", "--share", "scores") == 0
    said = capsys.readouterr()
    assert "[1] north" in said.out
    assert "client south did not answer" in said.err


def test_commands_name_what_is_wrong(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("rag", "ask", "nothing", "x") == 2
    assert "fedtailor rag index" in capsys.readouterr().err
    assert command("rag", "index", *folders, "--out", "shops") == 0
    assert command("rag", "ask", "shops", "  ") == 2
    assert "the question is empty" in capsys.readouterr().err
    assert command("rag", "ask", "shops", "x", "--score", "ranks") == 2
    assert "hybrid, dense or bm25" in capsys.readouterr().err
