"""What goes out of a question: with noise, less is found and fewer questions are identified."""

import itertools

import numpy as np
import pytest
from embedders import Hashed, source

from fedtailor.errors import SettingError
from fedtailor.privacy.noise import distance_noise
from fedtailor.retrieval import Federation, Score, SentQuestion, evaluate
from fedtailor.retrieval.index import open_index
from fedtailor.retrieval.tally import Known
from fedtailor.retrieval.update import update_index

WORDS = "tea milk bread salt rice corn plum bean hot cold old new dear cheap red blue".split()


def drawn(seed):
    return np.random.default_rng(seed).bytes


def test_noise_has_the_length_that_epsilon_says():
    noise = distance_noise(4000, 24, 8.0, drawn(0))
    length = np.linalg.norm(noise, axis=1)
    # Gamma(24, 1/8): mean 24 / 8, variance 24 / 64
    assert length.mean() == pytest.approx(3.0, abs=0.04)
    assert length.var() == pytest.approx(0.375, rel=0.1)
    assert np.abs((noise / length[:, None]).mean(axis=0)).max() < 0.02  # no direction is preferred


def test_vectors_go_out_with_noise_and_of_length_one():
    clean = Hashed().embed(["hot tea", "old salt"])
    sent = SentQuestion(kind="noised", epsilon=100).vectors(clean, drawn(1))
    assert sent.dtype == np.float32
    assert np.linalg.norm(sent, axis=1) == pytest.approx(1.0, abs=1e-6)
    assert 0.9 < float(sent[0] @ clean[0]) < 0.9999
    assert SentQuestion(kind="vector").vectors(clean) is clean


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "hidden"}, "text, vector or noised; got 'hidden'"),
        ({"kind": "noised"}, "kind: noised and epsilon: None"),
        ({"epsilon": 3.0}, "kind: text and epsilon: 3.0"),
        ({"kind": "noised", "epsilon": 0.0}, "above 0"),
    ],
)
def test_settings_that_mean_nothing(given, said):
    with pytest.raises(SettingError, match=said):
        SentQuestion(**given)


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    place, found = tmp_path_factory.mktemp("indexes"), {}
    for k in range(2):
        files = [source(f"c{k}-{n}", f"{a} {b}") for n, (a, b) in enumerate(zip(WORDS, WORDS[k + 1 :], strict=False))]
        update_index(place / f"c{k}", files, Hashed())
        found[f"c{k}"] = open_index(place / f"c{k}")
    return found


def test_recall_and_identification_stand_side_by_side(clients):
    known = [Known(question=f"{a} {b}", answers=[], passage=f"c0-{n}") for n, (a, b) in enumerate(itertools.pairwise(WORDS))]

    def metrics(question, **more):
        federation = Federation(clients=clients, embedder=Hashed(), score=Score(kind="dense"), question=question, **more)
        return evaluate(federation, known, top_k=5).metrics

    plain = metrics(SentQuestion(kind="vector"))
    assert (plain["recall@5"], plain["identified"]) == (1.0, 1.0)
    hidden = metrics(SentQuestion(kind="noised", epsilon=1.0))
    assert hidden["identified"] < 0.6
    assert hidden["recall@5"] < 0.8
    assert "identified" not in metrics(SentQuestion())
    # what was fetched is put in order by the question without noise
    fetched = metrics(SentQuestion(kind="noised", epsilon=1.0), fetch=31)
    assert fetched["recall@1"] == 1.0
