"""A job of retrieval: checked, run, asked and evaluated by command; the figures are those of the same indexes without a run."""

import json

import pandas as pd
import pytest
from asked import document_rows, question_rows

from fedtailor.cli.main import main
from fedtailor.errors import DataError, SettingError
from fedtailor.job import Job
from fedtailor.retrieval import evaluate, open_collection
from fedtailor.retrieval.evaluate import read_questions
from fedtailor.running import retrieving, run

JOB = """
backbone: {backbone}
task: {{kind: question-answering}}
data: {{train: passages.jsonl, test: questions.jsonl}}
clients: {{count: 3, partition: {{kind: natural, by: title}}}}
protocol: {{kind: retrieval, top_k: 2, router: {{kind: centroids, count: 2, margin: 0.5, smallest: 1}}, verify: true}}
stop: {{rounds: 3}}
threads: 1
"""


def command(*arguments):
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments)])
    return end.value.code or 0


@pytest.fixture
def job(tmp_path, monkeypatch, tiny_bert_folder):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(document_rows()).to_json("passages.jsonl", orient="records", lines=True)
    pd.DataFrame(question_rows()).to_json("questions.jsonl", orient="records", lines=True)
    (tmp_path / "job.yaml").write_text(JOB.format(backbone=tiny_bert_folder))
    return tmp_path / "job.yaml"


def test_whole_titles_are_dealt_evenly(job):
    loaded = Job.load(job)
    dealt = retrieving.divide_data(loaded).train
    sizes = sorted(map(len, dealt.values()))
    assert (len(dealt), sum(sizes)) == (3, 12)
    assert sizes[0] >= 2
    owners = {}
    for client, documents in dealt.items():
        for one in documents:
            owners.setdefault(one.fields["title"], set()).add(client)
    assert all(len(clients) == 1 for clients in owners.values())
    with pytest.raises(DataError, match=r"column 'title' has 5 values, and clients.count asks for 6"):
        retrieving.divide_data(loaded.replace("clients.count", 6))


def test_commands(job, capsys):
    assert command("check", job) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "share passages: raw text leaves each client" in said
    assert "questions 12" in said
    assert "never leaves what the clients' texts hold beyond that" in said
    assert command("run", job, "--out", "done") == 0
    said = capsys.readouterr().out
    assert "recall@1" in said
    assert "each alone: mean" in said
    summary = json.loads((job.parent / "done" / "summary.json").read_text())
    section = summary["retrieval"]
    assert summary["rounds"] == 3
    assert summary["traffic"]["up_bytes"] > 0
    assert section["answerable"] == section["questions"] == 12
    assert set(section["alone"]) == set(section["clients"]) == {"client-00", "client-01", "client-02"}
    assert len(section["answers"]) == 12
    index = job.parent / "runs" / "job-index"
    loaded = Job.load(job)
    plain = open_collection(index, embedder=retrieving.embedder_for(loaded))
    expected = evaluate(plain, read_questions(job.parent / "questions.jsonl"), top_k=2)
    assert section["metrics"]["recall@1"] == pytest.approx(expected.metrics["recall@1"])
    assert command("show", "done") == 0
    assert "share: passages" in capsys.readouterr().out
    assert command("report", "done") == 0
    assert "recall@1" in (job.parent / "done" / "report.html").read_text()
    assert command("rag", "ask", job, "what is plum corn") == 0
    assert "The plum is" in capsys.readouterr().out
    assert command("rag", "evaluate", job, "questions.jsonl", "--reader", "none") == 0
    assert "each alone: mean" in capsys.readouterr().out
    assert command("run", job, "--baseline", "central") == 2
    assert "protocol: retrieval trains no weight" in " ".join(capsys.readouterr().err.split())
    assert command("rag", "index", job) == 0
    assert "(0 embedded)" in capsys.readouterr().out


def test_resumed_equals_unbroken(job):
    whole = run(Job.load(job), out=job.parent / "whole").summary["retrieval"]
    first = run(Job.load(job), out=job.parent / "parts")
    for done in sorted((first.folder / "checkpoint").glob("[0-9]*"))[-1:]:
        assert done.name.endswith("3")
    assert first.summary["retrieval"] == whole


def test_without_questions_the_clients_are_looked_at(job):
    done = run(Job.load(job).replace("data.test", None), out=job.parent / "done")
    assert done.summary["rounds"] == 1
    assert done.summary["retrieval"]["metrics"] == {}
    assert sum(done.summary["retrieval"]["clients"].values()) == 12


def test_a_job_says_how_it_is_asked(job, capsys):
    retrieving.index(Job.load(job))
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
    job.write_text(job.read_text().replace("question-answering}", "question-answering, reader: none}"))
    assert command("rag", "ask", job, "what is plum corn") == 0
    assert "The plum is" in capsys.readouterr().out
    assert command("rag", "evaluate", job, "questions.jsonl") == 0
    assert "exact_match" not in capsys.readouterr().out


def test_a_client_allows_less_than_the_job(job):
    retrieving.index(Job.load(job))
    (job.parent / "runs" / "job-index" / "client-01" / "allows.yaml").write_text("share: answers\n")
    with pytest.raises(SettingError, match="share: passages is more than client client-01 allows"):
        retrieving.connect(Job.load(job))
    done = run(Job.load(job), out=job.parent / "done")
    assert set(done.summary["retrieval"]["clients"]) == {"client-00", "client-02"}
    assert "more than client client-01 allows" in done.summary["retrieval"]["notes"][0]


def test_what_is_wrong_is_named(job, tiny_backbone_folder):
    def load(**more):
        return Job.load(job, [f"{name.replace('__', '.')}={value}" for name, value in more.items()])

    with pytest.raises(SettingError, match="rooter"):
        load(protocol__rooter="1")
    with pytest.raises(SettingError, match=r"partition.by names column 'name'"):
        retrieving.divide_data(load(clients__partition="{kind: natural, by: name}"))
    with pytest.raises(DataError, match="no such file"):
        retrieving.connect(load())
    with pytest.raises(SettingError, match="question-answering does not go with protocol: averaging"):
        load(protocol="{kind: averaging}", tuning="lora")
    with pytest.raises(SettingError, match="frozen does not go with protocol: averaging"):
        load(protocol="{kind: averaging}", tuning="frozen", task="{kind: classification}")
    with pytest.raises(SettingError, match="classification does not go with protocol: retrieval"):
        load(task="{kind: classification}")
    (job.parent / "train.yaml").write_text(
        f"backbone: {tiny_backbone_folder}\ntask: {{kind: generation}}\ndata: {{train: x.csv}}\n"
    )
    with pytest.raises(SettingError, match="is a job of protocol: averaging, which asks no documents"):
        retrieving.asking_job(job.parent / "train.yaml")


def test_questions_are_embedded_by_a_trained_run(job, tiny_bert_folder, capsys):
    pairs = [
        {"question": row["question"], "text": text["text"]} for row, text in zip(question_rows(), document_rows(), strict=True)
    ]
    pd.DataFrame(pairs * 2).to_json("pairs.jsonl", orient="records", lines=True)
    training = Job.from_dict(
        {
            "backbone": str(tiny_bert_folder),
            "task": {"kind": "retrieval"},
            "data": {"train": "pairs.jsonl"},
            "clients": {"count": 2, "min_examples": 2},
            "protocol": {"kind": "averaging", "local": {"learning_rate": 0.05, "batch_size": 4, "epochs": 4}},
            "stop": {"rounds": 2, "keep": "last"},
            "precision": "float32",
            "threads": 1,
        },
        base=job.parent,
    )
    run(training, out=job.parent / "trained")
    dense = Job.load(job, ["protocol.score={kind: dense}", "protocol.verify=true"])
    before = run(dense, out=job.parent / "before").summary["retrieval"]["metrics"]
    after = run(dense.replace("protocol.query", "trained"), out=job.parent / "after").summary["retrieval"]
    assert after["metrics"] != before  # the questions lie elsewhere
    assert after["notes"] == []  # what clients state is what the trained questions have
    assert command("rag", "ask", job, "what is plum corn") == 0
    assert command("try", "trained", "what is plum corn") == 2
    assert "vectors of questions, which answer nothing by themselves" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SettingError, match="after is a run of task: question-answering; name one of task: retrieval"):
        run(dense.replace("protocol.query", "after"), out=job.parent / "wrong")
    with pytest.raises(SettingError, match=r"protocol.query names the folder of a run of task: retrieval"):
        run(dense.replace("protocol.query", "nowhere"), out=job.parent / "wrong")


def test_answers_are_marked_by_a_trained_run(job, tiny_bert_folder, capsys):
    rows = [
        {"question": f"what is {row['text'].split()[1]}", "text": row["text"], "answer": row["text"].split()[-1].strip(".")}
        for row in document_rows() * 4
    ]
    pd.DataFrame(rows).to_json("marked.jsonl", orient="records", lines=True)
    for tuning, rate in (("full", 0.005), ("{kind: lora, rank: 4}", 0.03)):
        (job.parent / "reader.yaml").write_text(
            f"backbone: {tiny_bert_folder}\ntask: {{kind: extraction, max_tokens: 80}}\ndata: {{train: marked.jsonl}}\ntuning: {tuning}\n"
            f"clients: {{count: 2, min_examples: 2, test_share: 0, validation_share: 0}}\nthreads: 1\nprecision: float32\nstop: {{rounds: 2}}\n"
            f"protocol: {{kind: averaging, local: {{learning_rate: {rate}, epochs: 6, batch_size: 4}}}}\n"
        )
        folder = f"trained-{tuning[:4].strip('{')}"
        run(Job.load(job.parent / "reader.yaml"), out=job.parent / folder)
        asked = Job.load(job, [f"task.reader={{kind: span, run: {folder}}}"])
        done = run(asked, out=job.parent / f"asked-{folder}").summary["retrieval"]
        assert all(one["answer"] in one["sources"][one["cited"][0] - 1]["text"] for one in done["answers"])
        assert done["metrics"]["supported"] == 1.0
        assert command("rag", "ask", job, "what is plum", "--reader", folder, "--json") == 0
        assert json.loads(capsys.readouterr().out)[0]["answer"] in "The plum is bread."
        assert command("try", folder, "what is plum", "--field", "text=The plum is bread.") == 0
        assert "before" in capsys.readouterr().out
    assert command("try", folder, "what is plum") == 2
    assert 'a reader needs a text to answer from: --field text="..."' in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SettingError, match=r"runs/nothing is no folder of a run; name one of task: extraction"):
        run(Job.load(job, ["task.reader={kind: span, run: runs/nothing}"]), out=job.parent / "wrong")
