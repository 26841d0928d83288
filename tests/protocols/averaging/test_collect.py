"""One round's replies, in whatever order they come."""

import torch

from fedtailor.protocols.averaging.collect import Collector
from fedtailor.records import ClientFailure, Message, Reply, Traffic

FACTS = {"version": 4, "examples": 2, "steps": 1, "tokens": 5, "targets": 3, "first_loss": 2.0, "last_loss": 1.0, "seconds": 0.5}


def reply(client, value, **facts):
    message = Message(kind="train", tensors={"w": torch.tensor(value)}, facts=FACTS | facts)
    return Reply(client=client, message=message, traffic=Traffic(up_bytes=7, down_bytes=9))


def collector():
    return Collector(4, ["c", "a", "b"], lambda trained: float(trained.examples))


def test_updates_come_in_the_order_of_ids_whoever_answered_first():
    one = collector()
    updates = list(one.updates(iter([reply("c", [1.0]), reply("b", [2.0]), reply("a", [3.0])])))
    assert [u.client for u in updates] == ["a", "b", "c"] == one.answered


def test_failures_stale_and_double_replies_are_dropped_and_named():
    one = collector()
    failed = Reply(client="a", message=None, error=ClientFailure(kind="failed", mark="MemoryError"), traffic=Traffic())
    updates = list(one.updates(iter([failed, reply("b", [1.0], version=3), reply("c", [1.0]), reply("c", [5.0])])))
    assert [(u.client, u.delta["w"].item()) for u in updates] == [("c", 1.0)]
    assert {client: failure.mark for client, failure in one.failures.items()} == {"a": "MemoryError", "b": "StaleVersion"}
    rows = one.rows()
    assert [row.get("error") for row in rows] == ["failed: MemoryError", "off-manifest: StaleVersion", None]


def test_a_weight_that_no_mean_can_be_made_with_drops_the_client_and_not_the_round():
    one = collector()
    updates = list(one.updates(iter([reply("a", [3.0], examples=0), reply("b", [3.0], examples=-2), reply("c", [1.0])])))
    assert [u.client for u in updates] == ["c"]
    assert {client: failure.mark for client, failure in one.failures.items()} == {"a": "OtherWeight", "b": "OtherWeight"}


def test_a_silent_client_does_not_hold_up_the_others():
    updates = list(collector().updates(iter([reply("c", [1.0]), reply("b", [2.0])])))
    assert [u.client for u in updates] == ["b", "c"]


def test_rows_have_what_clients_reported_and_what_it_took():
    one = Collector(4, ["a", "b"], lambda facts: 1.0)
    list(one.updates(iter([reply("a", [3.0, 4.0]), reply("b", [3.0, -4.0])])))
    row = one.rows()[1]
    assert (row["up_bytes"], row["examples"]) == (7, 2)
