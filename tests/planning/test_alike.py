"""Of many clients an estimate looks at the examples of some."""

from dataclasses import replace

import pytest

from fedtailor.assembly import assemble
from fedtailor.planning import alike, counts_of, estimate


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FEDTAILOR_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_of_many_clients_some_are_looked_at_and_the_others_scaled(make_job, rows, monkeypatch):
    parts = assemble(make_job(), given=rows)
    looked, prepare = set(), parts.clients.prepare
    parts = replace(parts, clients=replace(parts.clients, prepare=lambda client: looked.add(client) or prepare(client)))
    counts = counts_of(parts)
    assert len(looked) == 1  # the client with the longest example
    whole = estimate(parts, counts=counts, program=0.0)
    assert looked == set(parts.clients)
    looked.clear()
    monkeypatch.setattr(alike, "KEPT", 2)
    some = estimate(parts, counts=counts, program=0.0)
    assert len(looked) < len(parts.clients)
    assert not parts.clients.stores  # nothing is made for clients that no round asked
    assert list(some.clients) == list(whole.clients)
    assert some.bytes == whole.bytes  # of every client
    assert some.largest[1].memory == whole.largest[1].memory  # the longest example is among those that were looked at
    for name in ("train", "formula", "evaluate"):
        assert some.flops[name] == pytest.approx(whole.flops[name], rel=0.1), name
    assert [note for note in some.notes if note not in whole.notes] == [
        "examples of about 2 of 4 clients were looked at; operations and memory of the others follow from how much they have"
    ]


def test_each_client_is_estimated_by_the_one_with_the_nearest_tokens(make_job, rows, monkeypatch):
    parts = assemble(make_job(), given=rows)
    tokens = dict(zip(parts.clients, (10, 100, 20, 90), strict=True))
    amounts = {
        client: replace(has, tokens=tokens[client], longest=50 if client == "client-03" else 5)
        for client, has in parts.clients.amounts.items()
    }
    parts = replace(parts, clients=replace(parts.clients, amounts=amounts))
    assert alike.alike(parts, list(amounts)) == {client: client for client in amounts}
    monkeypatch.setattr(alike, "KEPT", 2)
    # looked at are the ends, 10 and 100 tokens, and client-03 for its longest example
    assert alike.alike(parts, list(amounts)) == {
        "client-00": "client-00",
        "client-01": "client-01",
        "client-02": "client-00",
        "client-03": "client-03",
    }
