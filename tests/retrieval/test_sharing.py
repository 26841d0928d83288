"""Levels of sharing: what leaves a client, what the server may ask for, and what happens to clients that are silent or lie."""

from dataclasses import replace

import pytest
import torch
from embedders import Hashed, source

from fedtailor.errors import ClientError, SettingError
from fedtailor.retrieval.client import RetrievalClient
from fedtailor.retrieval.federated import Federation
from fedtailor.retrieval.index import open_index
from fedtailor.retrieval.messages import Answered, Ask, Fetch, Fetched, Read, Scored
from fedtailor.retrieval.readers import BestSentence
from fedtailor.retrieval.router import Centroids, Routing
from fedtailor.retrieval.search import Score
from fedtailor.retrieval.share import permits
from fedtailor.retrieval.update import update_index

TEXTS = {
    "north": ["The tea is hot at noon. Nobody drinks it then.", "The bread is old."],
    "south": ["The milk is white and cold.", "The salt is dear. The tea is cheap."],
    "west": ["The plum is blue in May.", "The corn is red."],
}
QUESTION = "is the tea hot at noon"


@pytest.fixture
def clients(tmp_path):
    found = {}
    for name, texts in TEXTS.items():
        update_index(tmp_path / name, [source(f"{name}-{n}", text) for n, text in enumerate(texts)], Hashed())
        found[name] = open_index(tmp_path / name)
    return found


def asked(clients, **settings):
    federation = Federation(clients=clients, embedder=Hashed(), **settings)
    (found,) = federation.search([QUESTION], 2)
    return federation, found


def texts_in(record):
    return "".join(record.texts) if isinstance(record, Fetched | Answered) else ""


@pytest.mark.parametrize("share", ["passages", "snippets", "answers", "scores", "embeddings"])
def test_a_level_lets_out_what_it_says(clients, share, monkeypatch):
    came = []
    plain = RetrievalClient.answer
    monkeypatch.setattr(RetrievalClient, "answer", lambda self, one: came.append(plain(self, one)) or came[-1])
    score = Score(kind="dense") if share == "embeddings" else Score()
    federation, found = asked(clients, share=share, score=score)
    left = "".join(map(texts_in, came))
    assert ("Nobody drinks it then." in left) == (share == "passages")
    assert ("The tea is hot at noon." in left) == (share in ("passages", "snippets", "answers"))
    assert [hit.client for hit in found.hits] == ["north", "south"]
    assert [passage.id for passage in federation.passages_of(found)] == ["north-0#0", "south-1#0"]
    assert (found.answer is not None) == (share == "answers")
    assert (found.hits[0].source == "north") == (share in ("answers", "scores", "embeddings"))
    assert list(found.asked) == ([] if share == "embeddings" else sorted(TEXTS))


def test_answers_are_read_at_clients(clients):
    _, found = asked(clients, share="answers")
    assert found.answer[:2] == ("The tea is hot at noon.", "north")


@pytest.mark.parametrize(
    ("allowed", "may"),
    [
        ("scores", {"scores"}),
        ("answers", {"scores", "answers"}),
        ("snippets", {"scores", "answers", "snippets"}),
        ("passages", {"scores", "answers", "snippets", "passages"}),
        ("embeddings", {"embeddings"}),
    ],
)
def test_what_a_level_permits(allowed, may):
    assert {level for level in ("scores", "answers", "snippets", "passages", "embeddings") if permits(allowed, level)} == may


def test_a_client_gives_no_more_than_it_allows(clients):
    client = RetrievalClient(index=clients["north"], embedder=Hashed(), reader=BestSentence(embedder=Hashed()), share="scores")
    scored = client.answer(Ask(exchange=0, most=2, questions=[QUESTION], vectors=torch.from_numpy(Hashed().embed([QUESTION]))))
    assert isinstance(scored, Scored)
    with pytest.raises(SettingError, match="this client shares scores alone"):
        client.answer(Fetch(exchange=0, questions=[0], places=[0], whole=[1]))
    with pytest.raises(SettingError, match="this client shares scores alone"):
        client.answer(Read(exchange=0, questions=[0], places=[0]))


def test_passages_that_were_never_named_are_not_given(clients):
    client = RetrievalClient(index=clients["north"], embedder=Hashed(), reader=BestSentence(embedder=Hashed()))
    client.answer(Ask(exchange=0, most=1, questions=[QUESTION]))
    with pytest.raises(ClientError, match="passage 1 of question 0 was never named"):
        client.answer(Fetch(exchange=0, questions=[0], places=[1], whole=[1]))
    with pytest.raises(ClientError, match="exchange 7 is not known"):
        client.answer(Fetch(exchange=7, questions=[0], places=[0], whole=[1]))


@pytest.mark.parametrize("phase", [Ask, Fetch])
def test_a_client_that_falls_silent_is_replaced_by_the_next_best(clients, phase):
    federation = Federation(clients=clients, embedder=Hashed())
    plain = federation.send

    def send(requests):
        return plain({name: one for name, one in requests.items() if not (name == "north" and isinstance(one, phase))})

    federation.server.send = send
    (found,) = federation.search([QUESTION], 2)
    without = Federation(clients={name: index for name, index in clients.items() if name != "north"}, embedder=Hashed())
    (expected,) = without.search([QUESTION], 2)
    assert [hit.passage for hit in found.hits] == [hit.passage for hit in expected.hits]
    assert any("client north did not" in note for note in found.notes)


class Liar(RetrievalClient):
    def _score(self, asked):
        told = super()._score(asked)
        return replace(told, cosines=torch.ones_like(told.cosines))


def test_a_client_that_lies_is_left_out_named_and_not_asked_again(clients):
    federation = Federation(clients=clients, embedder=Hashed(), verify=True)
    federation.halves["west"] = Liar(index=clients["west"], embedder=Hashed(), reader=BestSentence(embedder=Hashed()))
    unverified = Federation(clients=clients, embedder=Hashed())
    unverified.halves["west"] = federation.halves["west"]
    assert [hit.client for hit in unverified.search([QUESTION], 2)[0].hits] == ["west", "west"]
    for _ in range(3):
        (found,) = federation.search([QUESTION], 2)
        assert [hit.client for hit in found.hits] == ["north", "south"]
        assert any("client west stated a cosine" in note for note in found.notes)
    (found,) = federation.search([QUESTION], 2)
    assert list(found.asked) == ["north", "south"]
    assert any("client west is not asked any more" in note for note in found.notes)


def test_scores_that_were_not_asked_for_count_for_nothing(clients):
    class Generous(RetrievalClient):
        def _score(self, asked):
            return super()._score(replace(asked, most=asked.most + 1))

    federation = Federation(clients=clients, embedder=Hashed())
    federation.halves["north"] = Generous(index=clients["north"], embedder=Hashed(), reader=BestSentence(embedder=Hashed()))
    (found,) = federation.search([QUESTION], 1)
    assert found.hits[0].client == "south"
    assert any("client north sent scores that are not those" in note for note in found.notes)


def test_forged_centroids_count_for_nothing_after_some_questions(clients):
    question = Hashed().embed([QUESTION])
    told = {name: Centroids(vectors=index.vectors[:1].astype("float16"), sizes=[5]) for name, index in clients.items()}
    told["west"] = Centroids(vectors=question.astype("float16"), sizes=[5])
    federation = Federation(clients=clients, embedder=Hashed(), routing=Routing(centroids=told, margin=0.05))
    (first,) = federation.search([QUESTION], 1)
    assert list(first.asked) == ["west"]  # it draws all questions, and has nothing
    federation.search([QUESTION] * 10, 1)
    (last,) = federation.search([QUESTION], 1)
    assert "north" in last.asked
    assert last.hits[0].client == "north"
    assert any("the centroids of client west count for nothing" in note for note in last.notes)


def test_settings_that_do_not_go_together(clients):
    with pytest.raises(SettingError, match="verify embeds whole passages, and share: answers lets none out"):
        asked(clients, share="answers", verify=True)
    with pytest.raises(SettingError, match="it goes with score: dense"):
        asked(clients, share="embeddings")
    with pytest.raises(SettingError, match="share is one of passages"):
        asked(clients, share="everything")
