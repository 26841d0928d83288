"""Retrieval through the gate: the same answers as without it, and nothing leaves that the settings do not name."""

import json
from dataclasses import replace

import pytest
from embedders import Hashed, source

from fedtailor.errors import SettingError
from fedtailor.federation import LocalFederation
from fedtailor.messages import manifest_of
from fedtailor.protection import make_gate
from fedtailor.protocols.retrieval import Courier, Retrieval, RetrievalRun
from fedtailor.protocols.retrieval.messages import calls_of
from fedtailor.protocols.retrieval.server import REST_S, Asker
from fedtailor.records import ClientFailure, ClientInfo
from fedtailor.retrieval import Federation, Router, Score, SentQuestion
from fedtailor.retrieval.allows import LOG, QueryLog, read_allows
from fedtailor.retrieval.index import open_index
from fedtailor.retrieval.messages import Ask, Fetch
from fedtailor.retrieval.standing import Standing
from fedtailor.retrieval.update import update_index

WORDS = "tea milk bread salt rice corn plum bean hot cold old new dear cheap red blue".split()
QUESTIONS = ["is the hot tea dear", "old blue plum", "salt", "coffee"]


@pytest.fixture
def indexes(tmp_path):
    found = {}
    for k in range(3):
        name = f"c{k}"
        files = [
            source(f"{name}-{n}", f"The {a} is {b}. It was {WORDS[n]}.")
            for n, (a, b) in enumerate(zip(WORDS, WORDS[k + 1 :], strict=False))
        ]
        update_index(tmp_path / name, files, Hashed())
        found[name] = open_index(tmp_path / name)
    return found


def connected(indexes, run, folder=None, faults=None):
    def log(name):
        return None if folder is None else QueryLog(allows=read_allows(folder / name), file=folder / name / LOG)

    halves = {name: run.half(index, log(name)) for name, index in indexes.items()}
    infos = [ClientInfo(id=name, examples=1) for name in indexes]
    failed = [] if faults is None else faults
    gate = make_gate(manifest_of(calls_of(run.settings, run.embedder.width)))
    return LocalFederation(halves, infos, gate, lambda client, fault: failed.append((client, str(fault)))), halves


def asker_of(federation, run, **more):
    courier = Courier(federation=federation, timeout_s=run.settings.timeout_s, **more)
    return Asker(settings=run.settings, embedder=run.embedder, courier=courier, standing=Standing())


def server_of(federation, run):
    asker = asker_of(federation, run)
    return asker.ready(), asker.courier


def plain(found):
    return [[(hit.client, hit.passage, hit.score, hit.twins) for hit in one.hits] for one in found], [one.answer for one in found]


@pytest.mark.parametrize("kind", ["hybrid", "dense", "bm25"])
@pytest.mark.parametrize("share", ["passages", "snippets", "answers", "scores", "embeddings"])
def test_the_same_answers_as_without_a_gate(indexes, kind, share):
    if share == "embeddings" and kind != "dense":
        pytest.skip("searched by vectors alone")
    score = Score(kind=kind)
    run = RetrievalRun(embedder=Hashed(), settings=Retrieval(score=score, share=share, top_k=3))
    federation, _ = connected(indexes, run)
    server, courier = server_of(federation, run)
    expected = Federation(clients=indexes, embedder=Hashed(), score=score, share=share)
    assert plain(server.search(QUESTIONS, 3)) == plain(expected.search(QUESTIONS, 3))
    assert courier.failures == []
    # the first exchange of both is for catalogues
    assert (courier.down_bytes, courier.up_bytes) == (expected.traffic.down, expected.traffic.up)


def test_router_verify_and_shared_statistics(indexes):
    settings = Retrieval(router=Router(count=2, margin=0.1, smallest=2), verify=True, shared_statistics=True, top_k=3)
    run = RetrievalRun(embedder=Hashed(), settings=settings)
    federation, _ = connected(indexes, run)
    server, courier = server_of(federation, run)
    expected = Federation(
        clients=indexes, embedder=Hashed(), routing=settings.router.over(indexes), verify=True, shared_statistics=True
    )
    found = server.search(QUESTIONS, 3)
    assert [list(one.asked) for one in found] == [list(one.asked) for one in expected.search(QUESTIONS, 3)]
    assert min(len(one.asked) for one in found) < 3
    assert plain(found) == plain(expected.search(QUESTIONS, 3))
    assert courier.failures == []


@pytest.mark.parametrize("question", [SentQuestion(kind="vector"), SentQuestion(kind="noised", epsilon=1e6)])
def test_a_question_is_answered_from_its_vector_alone(indexes, tmp_path, question):
    score = Score(kind="dense")
    run = RetrievalRun(embedder=Hashed(), settings=Retrieval(score=score, question=question, verify=True, top_k=3))
    sent = []
    federation, _ = connected(indexes, run, tmp_path)
    working = federation.ask
    federation.ask = lambda requests, timeout_s=None: sent.extend(requests.values()) or working(requests, timeout_s)
    server, courier = server_of(federation, run)
    expected = Federation(clients=indexes, embedder=Hashed(), score=score).search(QUESTIONS, 3)
    found = server.search(QUESTIONS, 3)
    assert [[hit.passage for hit in one.hits] for one in found] == [[hit.passage for hit in one.hits] for one in expected]
    assert courier.failures == []
    assert not any(text in str(message.facts) for message in sent for text in QUESTIONS)
    log = (tmp_path / "c1" / LOG).read_text()
    assert "vector " in log
    assert "tea" not in log
    assert ("a question", question.says) in list(run.says())


def test_a_level_has_no_message_for_what_it_does_not_let_out():
    def kinds(**settings):
        return set(manifest_of(calls_of(Retrieval(**settings), Hashed.width)).up)

    assert kinds() == {"catalogue", "question", "passages"}
    assert kinds(share="answers") == {"catalogue", "question", "answers"}
    assert kinds(share="scores") == {"catalogue", "question"}
    assert kinds(share="embeddings", score=Score(kind="dense")) == {"catalogue"}
    assert kinds(shared_statistics=True) == {"catalogue", "words", "question", "passages"}


def test_a_client_allows_less_by_its_own_file(indexes, tmp_path):
    (tmp_path / "c1" / "allows.yaml").write_text("share: scores\n")
    run = RetrievalRun(embedder=Hashed())
    asker = asker_of(connected(indexes, run, tmp_path)[0], run)
    assert set(asker.ready().catalogues) == {"c0", "c2"}  # the others are asked without it
    said = "share: passages is more than client c1 allows, which is scores; ask for share: scores, or leave the client out"
    assert asker.refused == {"c1": said}
    assert [(client, failure.kind) for client, failure in asker.courier.failures] == [("c1", "off-manifest")]
    alone = {"c1": indexes["c1"]}
    with pytest.raises(SettingError, match="share: passages is more than client c1 allows"):
        server_of(connected(alone, run, tmp_path)[0], run)
    run = RetrievalRun(embedder=Hashed(), settings=Retrieval(share="scores"))
    server, _ = server_of(connected(indexes, run, tmp_path)[0], run)
    assert {hit.client for one in server.search(QUESTIONS, 3) for hit in one.hits} == set(indexes)
    (tmp_path / "c1" / "allows.yaml").write_text("share: all\n")
    with pytest.raises(SettingError, match=r"allows.yaml: share is one of passages"):
        connected(indexes, run, tmp_path)


def test_a_client_that_was_silent_rests_and_is_asked_again(indexes):
    run, moment = RetrievalRun(embedder=Hashed()), [0.0]
    federation, _halves = connected(indexes, run)
    asker = asker_of(federation, run, now=lambda: moment[0])
    asker.ready()
    asked, working = [], federation.ask

    def ask(requests, timeout_s=None):
        asked.append(set(requests))
        for reply in working(requests, timeout_s):
            late = reply.client == "c1" and moment[0] == 0
            yield replace(reply, message=None, error=ClientFailure(kind="timeout", mark="TimedOut")) if late else reply

    federation.ask = ask
    for moment[0], expected in ((0.0, {"c0", "c1", "c2"}), (1.0, {"c0", "c2"}), (REST_S + 1, {"c0", "c1", "c2"})):
        asked.clear()
        found = asker.ready().search(QUESTIONS, 3)
        assert asked[0] == expected
        assert ("c1" in {hit.client for one in found for hit in one.hits}) is (moment[0] > REST_S)


def test_questions_are_logged_and_limited_at_the_client(indexes, tmp_path):
    (tmp_path / "c1" / "allows.yaml").write_text("per_minute: 5\n")
    faults = []
    run = RetrievalRun(embedder=Hashed())
    server, _ = server_of(connected(indexes, run, tmp_path, faults)[0], run)
    server.search(QUESTIONS)
    lines = [json.loads(line) for line in (tmp_path / "c1" / "queries.jsonl").read_text().splitlines()]
    assert [line["questions"] for line in lines] == [QUESTIONS]
    again, _ = server_of(connected(indexes, run, tmp_path, faults)[0], run)  # the limit holds over a restart
    found = again.search(QUESTIONS)
    assert all("c1" not in {hit.client for hit in one.hits} for one in found)
    assert "client c1 did not answer" in found[0].notes
    assert faults == [("c1", "8 questions within a minute are more than the 5 that this client allows; ask later")]


@pytest.mark.parametrize("phase", [Ask, Fetch])
def test_answers_continue_without_a_client_that_stops(indexes, phase):
    run = RetrievalRun(embedder=Hashed())
    federation, halves = connected(indexes, run)
    server, courier = server_of(federation, run)
    working = halves["c1"].answer
    stopped = type("Stopped", (), {"answer": lambda self, message: working(message) if message.kind != phase.kind else 1 / 0})()
    federation._halves = {**halves, "c1": stopped}
    found = server.search(QUESTIONS, 3)
    others = Federation(clients={name: index for name, index in indexes.items() if name != "c1"}, embedder=Hashed())
    assert plain(found)[0][0] == plain(others.search(QUESTIONS, 3))[0][0]
    assert {client for client, _ in courier.failures} == {"c1"}


def test_a_score_above_what_there_can_be_is_refused_by_the_gate(indexes):
    run = RetrievalRun(embedder=Hashed())
    federation, halves = connected(indexes, run)
    server, courier = server_of(federation, run)
    client = halves["c2"].inner
    score = client._score
    client._score = lambda asked: (
        (told := score(asked)) and type(told)(counts=told.counts, keys=told.keys, cosines=told.cosines + 2, bm25=told.bm25)
    )
    found = server.search(QUESTIONS, 3)
    assert "c2" not in {hit.client for one in found for hit in one.hits}
    assert [failure.kind for client, failure in courier.failures] == ["off-manifest"]


def test_settings_that_do_not_go_together():
    with pytest.raises(SettingError, match="share: answers lets none out"):
        Retrieval(share="answers", verify=True)
    with pytest.raises(SettingError, match="set score"):
        Retrieval(share="embeddings")
    with pytest.raises(SettingError, match="timeout_s"):
        Retrieval(timeout_s=0)
    vector = SentQuestion(kind="vector")
    with pytest.raises(SettingError, match="score: hybrid weighs its words there; choose score: dense"):
        Retrieval(question=vector)
    dense = Score(kind="dense")
    with pytest.raises(SettingError, match="share: passages or scores; got share: answers"):
        Retrieval(question=vector, score=dense, share="answers")
    with pytest.raises(SettingError, match="shared_statistics counts its words"):
        Retrieval(question=vector, score=dense, shared_statistics=True)
    with pytest.raises(SettingError, match="fetch scores whole passages at the server, and share: snippets"):
        Retrieval(fetch=20, share="snippets")
    with pytest.raises(SettingError, match="fetch is at least top_k, 5"):
        Retrieval(fetch=4)
    assert "at most 20 a question" in Retrieval(fetch=20).lets_out
    assert "raw text leaves" in Retrieval().lets_out
    assert "no text leaves" in Retrieval(share="scores").lets_out
