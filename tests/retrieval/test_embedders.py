"""Clients with embedders of their own: each is asked in its own space, and what it gives is scored at the server."""

import pytest
from asked import documents, retrieval_job
from embedders import Hashed, source

from fedtailor.errors import SettingError
from fedtailor.retrieval import Federation, Router, Score, SentQuestion
from fedtailor.retrieval.index import open_index
from fedtailor.retrieval.update import update_index
from fedtailor.running import run

WORDS = "tea milk bread salt rice corn plum bean hot cold old new dear cheap red blue".split()
QUESTIONS = ["is the hot tea dear", "old blue plum", "salt new", "cold bean"]


def made(place, embedders):
    found = {}
    for k, (name, embedder) in enumerate(sorted(embedders.items())):
        texts = [f"The {a} is {b}. It was {WORDS[n]}." for n, (a, b) in enumerate(zip(WORDS, WORDS[k + 1 :], strict=False))]
        update_index(place / name, [source(f"{name}-{n}", text) for n, text in enumerate(texts)], embedder)
        found[name] = open_index(place / name)
    return found


@pytest.fixture
def mixed(tmp_path):
    own = {"c0": Hashed(), "c1": Hashed("b"), "c2": Hashed()}
    return made(tmp_path / "mixed", own), {"c1": own["c1"]}


def names(found):
    return [[hit.passage.id for hit in one.hits] for one in found]


def test_the_ranking_is_that_of_one_embedder(mixed, tmp_path):
    clients, own = mixed
    alike = made(tmp_path / "alike", dict.fromkeys(("c0", "c1", "c2"), Hashed()))
    dense = Score(kind="dense")
    expected = Federation(clients=alike, embedder=Hashed(), score=dense).search(QUESTIONS, 3)
    federation = Federation(clients=clients, embedder=Hashed(), embedders=own, score=dense, verify=True)
    # all of c1's few passages are fetched: what the server scores by its own embedder is the ranking of one index
    found = federation.search(QUESTIONS, 16)
    assert [some[:3] for some in names(found)] == names(expected)
    assert [hit.cosine for hit in found[0].hits[:3]] == pytest.approx([hit.cosine for hit in expected[0].hits], abs=1e-6)
    assert federation.server.standing.lies == {}  # what c1 states of its own space is no lie
    few = federation.search(QUESTIONS, 3)
    assert {len(one.hits) for one in few} == {3}
    assert federation.traffic.texts > 0


def test_a_client_without_centroids_here_is_always_asked(mixed):
    clients, own = mixed
    federation = Federation(clients=clients, embedder=Hashed(), embedders=own, router=Router(count=2, margin=0.0, smallest=2))
    found = federation.search(QUESTIONS, 3)
    assert all("c1" in one.asked for one in found)
    assert min(len(one.asked) for one in found) < 3


@pytest.mark.parametrize("more", [{"share": "snippets"}, {"score": Score(kind="dense"), "question": SentQuestion(kind="vector")}])
def test_what_needs_one_space_is_refused(mixed, more):
    clients, own = mixed
    with pytest.raises(SettingError, match="client c1 has another embedder"):
        Federation(clients=clients, embedder=Hashed(), embedders=own, **more)


def test_a_job_gives_a_client_an_embedder_of_its_own(tiny_bert_folder, tmp_path, monkeypatch):
    import shutil

    monkeypatch.chdir(tmp_path)

    other = tmp_path / "other"
    shutil.copytree(tiny_bert_folder, other)
    from safetensors.torch import load_file, save_file

    weights = {name: value * 1.5 for name, value in load_file(other / "model.safetensors").items()}
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    job = retrieval_job(tiny_bert_folder, name="mixed", clients__overrides={"client-01": {"backbone": str(other)}})
    made = run(job, data=documents(), out=tmp_path / "run")
    alike = run(retrieval_job(tiny_bert_folder), data=documents(), out=tmp_path / "alike")
    assert made.summary["retrieval"]["questions"] == 12
    assert made.summary["retrieval"]["texts"] > alike.summary["retrieval"]["texts"]  # those of client-01 are scored at the server
    assert made.summary["retrieval"]["notes"] == []
