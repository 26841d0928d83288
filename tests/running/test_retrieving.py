"""A job of retrieval: checked, run, asked and evaluated by command; the figures are those of the same indexes without a job."""

import json

import pandas as pd
import pytest
from embedders import Hashed

from fedtailor.cli.main import main
from fedtailor.errors import DataError, SettingError
from fedtailor.job.retrieval import RetrievalJob
from fedtailor.retrieval import collection, evaluate, open_collection
from fedtailor.retrieval.evaluate import read_questions
from fedtailor.running import retrieving

WORDS = "tea milk bread salt rice corn plum bean hot cold old new".split()
JOB = """
task: {kind: question-answering}
data: {documents: passages.jsonl, questions: questions.jsonl}
clients: {count: 3, partition: {kind: natural, by: title}}
protocol: {kind: retrieval, top_k: 2, score: {kind: hybrid, bm25: 0.05}, router: {kind: centroids, count: 2, margin: 0.5, smallest: 1}, verify: true}
"""


def command(*arguments):
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments)])
    return end.value.code or 0


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module in (collection, retrieving):
        monkeypatch.setattr(module, "MiniLm", Hashed)
    rows = [{"id": f"p{n}", "title": f"t{n % 5}", "text": f"The {word} is {WORDS[-n - 1]}."} for n, word in enumerate(WORDS)]
    pd.DataFrame(rows).to_json("passages.jsonl", orient="records", lines=True)
    asked = [{"question": f"what is {word} {WORDS[-n - 1]}", "passage_id": f"p{n}"} for n, word in enumerate(WORDS)]
    pd.DataFrame(asked).to_json("questions.jsonl", orient="records", lines=True)
    (tmp_path / "job.yaml").write_text(JOB)
    return tmp_path / "job.yaml"


def test_whole_titles_are_dealt_evenly(job):
    dealt = retrieving.deal(RetrievalJob.load(job))
    sizes = sorted(map(len, dealt.values()))
    assert (len(dealt), sum(sizes)) == (3, 12)
    assert sizes[0] >= 2
    owners = {}
    for client, documents in dealt.items():
        for one in documents:
            owners.setdefault(one.title, set()).add(client)
    assert all(len(clients) == 1 for clients in owners.values())


def test_commands(job, capsys):
    assert command("check", job) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "share passages: raw text leaves each client" in said
    assert "questions 12" in said
    assert command("run", job) == 0
    said = capsys.readouterr().out
    assert "recall@1" in said
    summary = json.loads((job.parent / "runs" / "job-index" / "summary.json").read_text())
    plain = open_collection(job.parent / "runs" / "job-index", embedder=Hashed())
    expected = evaluate(plain, read_questions(job.parent / "questions.jsonl"), top_k=2)
    assert summary["metrics"]["recall@1"] == pytest.approx(expected.metrics["recall@1"])
    assert summary["asked"] <= 3
    assert summary["up_bytes"] > 0
    assert set(summary["alone"]) == set(summary["clients"])
    assert "each alone: mean" in said
    folder = job.parent / "runs" / "job-index"
    events = [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text().splitlines()]
    assert events == ["start", "indexed", "indexed", "indexed", "done"]
    assert command("show", folder) == 0
    shown = capsys.readouterr().out
    assert "recall@1" in shown
    assert "client-02" in shown
    assert command("report", folder) == 2
    assert "which has no page; fedtailor show" in " ".join(capsys.readouterr().err.split())
    assert command("run", "--resume", folder) == 2
    assert "run the job again, without --resume" in " ".join(capsys.readouterr().err.split())
    assert command("rag", "ask", job, "what is plum corn") == 0
    assert "The plum is" in capsys.readouterr().out
    assert command("rag", "evaluate", job, "questions.jsonl", "--reader", "none") == 0
    assert "each alone: mean" in capsys.readouterr().out
    assert command("run", job, "--baseline", "central") == 2
    assert "--baseline does not go with protocol: retrieval" in capsys.readouterr().err
    assert command("rag", "index", job) == 0
    assert "(0 embedded)" in capsys.readouterr().out


def test_a_job_says_how_it_is_asked(job, capsys):
    retrieving.index(RetrievalJob.load(job))
    assert command("rag", "ask", job, "what is plum corn", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)[0]["sources"]) == 2
    assert command("rag", "ask", job, "what is plum corn", "--json", "--top-k", 1) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["sources"]) == 1
    assert command("rag", "ask", job, "what is plum corn", "--share", "scores", "--verify") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "job.yaml is a job, which says itself how its clients are asked: leave out --share and change protocol.share and protocol.verify there"
        in said
    )
    assert command("rag", "ask", job, "what is plum corn", "--top-k", 0) == 2
    assert "top_k" in capsys.readouterr().err
    job.write_text(JOB.replace("question-answering}", "question-answering, reader: none}"))
    assert command("rag", "ask", job, "what is plum corn") == 0
    assert "The plum is" in capsys.readouterr().out
    assert command("rag", "evaluate", job, "questions.jsonl") == 0
    assert "exact_match" not in capsys.readouterr().out


def test_a_client_allows_less_than_the_job(job):
    retrieving.index(RetrievalJob.load(job))
    (job.parent / "runs" / "job-index" / "client-01" / "allows.yaml").write_text("share: answers\n")
    with pytest.raises(SettingError, match="share: passages is more than client client-01 allows"):
        retrieving.connect(RetrievalJob.load(job))


def test_what_is_wrong_is_named(job):
    def load(**more):
        return RetrievalJob.load(job, [f"{name.replace('__', '.')}={value}" for name, value in more.items()])

    with pytest.raises(SettingError, match="rooter"):
        load(protocol__rooter="1")
    with pytest.raises(DataError, match=r"5 values of 'title', and clients.count asks for 6"):
        retrieving.deal(load(clients__count=6))
    with pytest.raises(DataError, match="no column 'name' to deal documents by"):
        retrieving.deal(load(clients__partition="{kind: natural, by: name}"))
    with pytest.raises(DataError, match="no such file"):
        retrieving.connect(load())
