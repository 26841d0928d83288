"""Search: exact, by one comparable score, the same over several clients as over one index."""

import numpy as np
import pytest
from embedders import Hashed, source

from fedtailor.errors import SettingError
from fedtailor.retrieval.federated import Federation
from fedtailor.retrieval.index import open_index
from fedtailor.retrieval.router import Centroids, Routing, choose_clients, find_centroids
from fedtailor.retrieval.search import Question, Score, best_of_client, check_question
from fedtailor.retrieval.update import update_index
from fedtailor.retrieval.verify import most_bm25, verify

WORDS = "tea milk bread salt rice corn plum bean hot cold old new dear cheap red blue".split()


def made(folder, files):
    update_index(folder, files, Hashed())
    return open_index(folder)


def texts(count, seed=0):
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, size=draw.integers(1, 9))) for _ in range(count)]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Return four clients' indexes and one of all of it; texts of one word come several times, within clients and across them."""
    folder = tmp_path_factory.mktemp("indexes")
    files = [source(f"f{n:03d}", text) for n, text in enumerate(texts(200))]
    clients = {f"c{k}": made(folder / f"c{k}", files[k::4]) for k in range(4)}
    return clients, {"all": made(folder / "all", files)}


QUESTIONS = [*texts(20, seed=1), "tea", "coffee", "?!", "tea " * 300]


def found(clients, kind="hybrid", top_k=7, **more):
    federation = Federation(clients=clients, embedder=Hashed(), score=Score(kind=kind), **more)
    answers = federation.search(QUESTIONS, top_k)
    return [[(hit.passage.text, hit.score) for hit in answer.hits] for answer in answers]  # of twins any may stand for the others


@pytest.mark.parametrize("kind", ["hybrid", "dense", "bm25"])
@pytest.mark.parametrize("top_k", [1, 7, 150])
def test_several_clients_are_one_index(parts, kind, top_k):
    clients, whole = parts
    assert found(clients, kind, top_k, shared_statistics=True) == found(whole, kind, top_k)


def test_own_statistics_are_dense_alone_exact(parts):
    clients, whole = parts
    assert found(clients, "dense") == found(whole, "dense")
    assert found(clients, "bm25") != found(whole, "bm25")


def test_scores_are_what_they_are_called(parts):
    _, whole = parts
    index, question = whole["all"], "tea bread"
    vector = Hashed().embed([question])[0]
    (hits,) = best_of_client(index, [Question(text=question, vector=vector)], 200, Score(bm25=0.5))
    for one in hits:
        assert one.cosine == pytest.approx(float(index.vectors[one.row] @ vector), abs=1e-6)
        assert one.bm25 == index.terms.scores(question)[one.row]
        assert one.score == one.cosine + 0.5 * one.bm25
    assert [one.order for one in hits] == sorted(one.order for one in hits)
    assert len(hits) == len({bytes(key) for key in index.keys})  # each text once


def test_words_that_nobody_has(parts):
    clients, _ = parts
    answers = dict(zip(QUESTIONS, found(clients, "bm25"), strict=True))
    assert answers["coffee"] == answers["?!"] == []
    assert all(text.split().count("tea") for text, _ in answers["tea"])


def test_only_winners_texts_leave_their_clients(parts):
    clients, _ = parts
    federation = Federation(clients=clients, embedder=Hashed())
    (answer,) = federation.search(["tea milk"], 5)
    assert (answer.candidates, len(answer.hits), federation.traffic.texts) == (20, 5, 5)


def test_twins_are_one_hit_with_all_its_sources(tmp_path):
    clients = {
        name: made(tmp_path / name, [source("x", "tea is hot"), source("y", "tea  is hot"), source(name, "milk")])
        for name in "ab"
    }
    (answer,) = Federation(clients=clients, embedder=Hashed()).search(["tea hot"], 2)
    assert [hit.passage.text for hit in answer.hits] == ["tea is hot", "milk"]
    assert (answer.hits[0].client, answer.hits[0].passage.id) == ("a", "x#0")
    assert list(answer.hits[0].twins) == [("b", "x#0")]  # within a client the first stands for all
    assert answer.hits[0].source == "a: x"


def test_an_empty_client_and_few_passages(tmp_path):
    clients = {"a": made(tmp_path / "a", []), "b": made(tmp_path / "b", [source("x", "tea")])}
    (answer,) = Federation(clients=clients, embedder=Hashed()).search(["tea"], 5)
    assert [hit.client for hit in answer.hits] == ["b"]


def test_questions():
    assert check_question(" what\n is\ttea? ") == "what is tea?"
    with pytest.raises(SettingError, match="is empty"):
        check_question(" \n")
    with pytest.raises(SettingError, match=r"has 29,999 characters, and the most is 2,000"):
        check_question("ab " * 10_000)


def test_settings(parts):
    clients, _ = parts
    with pytest.raises(SettingError, match="from 1 to 1000; got 0"):
        Federation(clients=clients, embedder=Hashed()).search(["tea"], 0)
    with pytest.raises(SettingError, match="vectors do not compare"):
        Federation(clients=clients, embedder=Hashed("b"))
    with pytest.raises(SettingError, match="no client"):
        Federation(clients={}, embedder=Hashed())
    with pytest.raises(SettingError, match=r"score\.kind"):
        Score(kind="ranks")


def unit(*rows):
    found = np.array(rows, dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_centroids_are_means_of_groups():
    east, north = unit(*[(1, n / 100) for n in range(-3, 4)]), unit(*[(n / 100, 1) for n in range(-3, 4)])
    lone = unit((-1, -1))
    told = find_centroids(np.concatenate([east, north, lone]), 3)
    assert sum(told.sizes) == 15  # that of the lone passage is not told, it counts with a larger group
    assert min(told.sizes) >= 5
    assert told.vectors.dtype == np.float16
    assert find_centroids(east[:4]).vectors.shape == (0, 2)
    assert find_centroids(east, 1).vectors[0] == pytest.approx([1, 0], abs=1e-3)


def test_the_margin_decides_who_is_asked():
    told = {
        "east": Centroids(vectors=unit((1, 0)).astype(np.float16), sizes=[9]),
        "north": Centroids(vectors=unit((0, 1), (-1, 0)).astype(np.float16), sizes=[9, 9]),
        "small": Centroids(vectors=np.zeros((0, 2), dtype=np.float16), sizes=[]),
    }
    questions = unit((1, 0), (1, 0.9), (0, 1))
    assert choose_clients(told, questions, 0.2) == [{"east", "small"}, {"east", "north", "small"}, {"north", "small"}]
    assert choose_clients({"small": told["small"]}, questions[:1], 0.2) == [{"small"}]


def test_routed_questions_reach_the_right_client(tmp_path):
    files = {"tea": [source(f"t{n}", f"tea hot {word}") for n, word in enumerate(WORDS[8:])],
             "salt": [source(f"s{n}", f"salt old {word}") for n, word in enumerate(WORDS[8:])]}  # fmt: skip
    clients = {name: made(tmp_path / name, some) for name, some in files.items()}
    routing = Routing(centroids={name: find_centroids(index.vectors, 2) for name, index in clients.items()})
    federation = Federation(clients=clients, embedder=Hashed(), routing=routing)
    first, second = federation.search(["tea hot", "salt old"], 3)
    assert (list(first.asked), list(second.asked)) == (["tea"], ["salt"])
    assert {hit.client for hit in first.hits} == {"tea"}


def test_a_liar_is_named_and_set_right(parts):
    from dataclasses import replace

    clients, _ = parts
    federation = Federation(clients=clients, embedder=Hashed(), score=Score(bm25=0.05))
    question = "tea hot red"
    (honest,) = federation.search([question], 6)
    vector = Hashed().embed([question])[0]
    sizes = {name: index.size for name, index in clients.items()}
    same = verify(honest, vector, Hashed(), federation.score, sizes)
    assert (same.lies, [hit.passage.id for hit in same.found.hits]) == ({}, [hit.passage.id for hit in honest.hits])
    liar = honest.hits[-1].client
    told = [replace(hit, cosine=1.0, score=9.0, bm25=1e9) if hit is honest.hits[-1] else hit for hit in honest.hits]
    told.append(replace(honest.hits[0], client="broken", cosine=float("nan"), bm25=float("nan"), score=float("nan")))
    caught = verify(replace(honest, hits=told), vector, Hashed(), federation.score, {**sizes, "broken": 3})
    assert caught.lies == {liar: 1, "broken": 1}
    last = next(hit for hit in caught.found.hits if hit.passage.id == honest.hits[-1].passage.id and hit.client == liar)
    assert last.cosine == pytest.approx(honest.hits[-1].cosine, abs=1e-6)
    assert last.bm25 <= most_bm25(question, last.passage.text, sizes[liar])
    assert all(np.isfinite(hit.score) for hit in caught.found.hits)
    assert any(f"client {liar} stated a cosine" in note for note in caught.found.notes)


def test_no_honest_word_score_is_above_its_bound(parts):
    clients, _ = parts
    for question in QUESTIONS:
        for index in clients.values():
            scores = index.terms.scores(question)
            for row in np.flatnonzero(scores):
                assert scores[row] <= most_bm25(question, index.rows([row])[0].text, index.size) + 1e-9
