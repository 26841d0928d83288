"""Retrieval with three sites, a process for each site's model, over a line that needs no network."""

import json
import subprocess
import time
from threading import Thread
from types import SimpleNamespace

import pytest
from asked import document_rows, question_rows, retrieval_job
from nets import DirectLine, at_server, write_site

from fedtailor.network.kit.policy import Policy
from fedtailor.network.server import server
from fedtailor.network.site import model_keeper
from fedtailor.running import run

SITES = ("site-1", "site-2", "site-3")
OPEN = Policy(protocols=("retrieval",), reports=("examples", "scores", "passages", "answers", "centroids"), min_examples=1)


@pytest.fixture
def net(tmp_path, tiny_bert_folder, zygote, monkeypatch):
    """Return three sites that hold four documents each, and a job that asks them."""
    forking = SimpleNamespace(Popen=zygote.popen, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(model_keeper, "subprocess", forking)
    kits = {site: tmp_path / site for site in SITES}
    for number, (site, kit) in enumerate(kits.items()):
        (kit / "local").mkdir(parents=True)
        (kit / "local" / "allows.yaml").write_text("share: passages\n")
        (tmp_path / f"{site}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in document_rows()[number::3]))
        write_site(kit, tmp_path / f"{site}.jsonl", tiny_bert_folder, policy=OPEN)
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in question_rows()))
    job = retrieval_job(tiny_bert_folder, stop__rounds=3)
    settings = {
        **job.to_dict(),
        "base": str(tmp_path),
        "data": {"train": [f"{site}.jsonl" for site in SITES], "test": "questions.jsonl"},
        "clients": {"partition": "files"},
    }
    line = DirectLine(kits)
    yield SimpleNamespace(folder=tmp_path, kits=kits, line=line, job=type(job).from_dict(settings))
    line.close()


def section_of(done):
    return json.loads((done.folder / "summary.json").read_text())["retrieval"]


def test_the_answers_are_those_of_a_local_run(net):
    job = net.job.replace("protocol.router", {"kind": "centroids", "count": 2, "margin": 0.5, "smallest": 1})
    local = run(job.replace("protocol.verify", True), out=net.folder / "local").summary["retrieval"]
    done = at_server(job.replace("protocol.verify", True), net.line, net.folder)
    assert (done.ended, done.text) == ("done", "")
    found = section_of(done)
    same = ("metrics", "answers", "asked", "texts", "clients", "questions")
    assert {name: found[name] for name in same} == {name: local[name] for name in same}
    assert found["metrics"]["recall@1"] > 0.5
    log = [json.loads(line) for line in (net.kits["site-1"] / "queries.jsonl").read_text().splitlines()]
    assert {question for line in log for question in line["questions"]} <= {row["question"] for row in question_rows()}
    assert len(log) == 3  # a block each


def test_one_site_stopped_and_the_others_answer(net):
    net.line.before = lambda client, ticket: net.line.kill_model("site-2") if client == "site-2" else None
    done = at_server(net.job, net.line, net.folder)
    assert (done.ended, done.text) == ("done", "")
    assert set(section_of(done)["clients"]) == {"site-1", "site-3"}
    assert {facts["client"] for kind, facts in done.events if kind == "failure"} == {"site-2"}
    found = section_of(done)["answers"]
    assert all(source["client"] != "site-2" for one in found for source in one["sources"])
    assert all(one["sources"] for one in found)


def test_an_open_job_answers_others_and_continues_when_a_site_stops(net, monkeypatch):
    inboxes = []
    made = server.Diary.__init__
    monkeypatch.setattr(server.Diary, "__init__", lambda self: (made(self), inboxes.append(self))[0])
    job = net.job.replace("data.test", None).replace("protocol.open_s", 20.0)
    found = {}

    def put(ticket, **more):
        diary = inboxes[0]
        while (fault := diary.answer({"ask": {"ticket": ticket, "questions": ["what is bread old"], **more}})).get("fault"):
            assert "has not come to them yet" in fault["fault"]
            time.sleep(0.05)
        while not (answer := diary.answer({"look": ticket})):
            time.sleep(0.05)
        return answer

    def ask():
        while not inboxes:
            time.sleep(0.05)
        found["all"] = put("one")
        found["bad"] = put("two", top_k=0)
        net.line.kill_model("site-2")
        found["two"] = put("three")
        inboxes[0].inbox._waiting.put(None)  # as if nobody asked any more

    other = Thread(target=ask, daemon=True)
    other.start()
    done = at_server(job, net.line, net.folder)
    other.join(60)
    assert (done.ended, done.text) == ("done", "")
    (first,), (second,) = found["all"]["answers"], found["two"]["answers"]
    assert first["sources"][0]["id"] == "rows:p2#0"
    assert len(first["asked"]) == len(SITES)
    assert "top_k is the number of passages, from 1 to 1000; got 0" in found["bad"]["fault"]
    assert all(source["client"] != "site-2" for source in second["sources"])
    assert second["sources"]
    assert section_of(done)["questions"] == 0


def test_a_site_whose_owner_says_nothing_shares_scores_alone(net):
    (net.kits["site-3"] / "local" / "allows.yaml").unlink()
    found = section_of(at_server(net.job, net.line, net.folder))
    assert set(found["clients"]) == {"site-1", "site-2"}
    assert "more than client site-3 allows, which is scores" in found["notes"][0]
    found = section_of(at_server(net.job.replace("protocol.share", "scores"), net.line, net.folder, run="scores"))
    assert set(found["clients"]) == set(SITES)
    assert found["texts"] == 0
    assert found["metrics"] == {}  # which passages were found is not known at the server


def test_limits_hold_over_jobs(net):
    (net.kits["site-1"] / "local" / "allows.yaml").write_text("share: passages\nper_minute: 15\n")
    first = section_of(at_server(net.job, net.line, net.folder))
    assert {source["client"] for one in first["answers"] for source in one["sources"]} == set(SITES)
    again = section_of(at_server(net.job.replace("name", "other"), net.line, net.folder, run="again"))
    assert any("client site-1 did not answer" in note for note in again["notes"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"reports": ("examples", "scores")}, "reports of passages"),
        ({"reports": ("examples", "passages")}, "reports of scores"),
        ({"protocols": ("averaging",)}, "protocol retrieval is not permitted here"),
    ],
)
def test_a_policy_refuses_what_a_job_would_reveal(net, tiny_bert_folder, change, why):
    policy = Policy(**{"protocols": ("retrieval",), "reports": OPEN.reports, "min_examples": 1, **change})
    write_site(net.kits["site-2"], net.folder / "site-2.jsonl", tiny_bert_folder, policy=policy)
    done = at_server(net.job, net.line, net.folder)
    assert done.ended != "done"
    assert why in done.text
