"""Clients keep to the counts that they named first, and no client's weight exceeds its share."""

import pytest
import torch

from fedtailor.messages import Manifest, MessageSpec
from fedtailor.messages.facts import examples, metrics
from fedtailor.metrics.classes import class_counts
from fedtailor.metrics.figure import counts_of
from fedtailor.metrics.texts import bleu, chrf
from fedtailor.protocols.rounds.counts import CountedFederation, capped, limited, reported
from fedtailor.records import ClientInfo, Message, Reply, Update

MANIFEST = Manifest(
    up={
        "train": MessageSpec(facts={"examples": examples("weight")}),
        "evaluate": MessageSpec(facts=metrics(["loss", "examples", "tokens"], "test", "on its own part")),
    },
    down={},
)


class Says:
    """A federation of one client that says what it is told to."""

    clients = (ClientInfo(id="a", examples=20),)

    def ask(self, requests, timeout_s=None):
        for client, message in requests.items():
            yield Reply(client=client, message=message)


def said(federation, kind, **facts):
    (reply,) = federation.ask({"a": Message(kind=kind, facts={name.replace("_", "."): value for name, value in facts.items()})})
    return reply.error.mark if reply.message is None else "taken"


def test_a_client_that_changes_its_number_of_examples_is_dropped_by_name():
    federation = CountedFederation(inner=Says(), manifest=MANIFEST)
    assert [said(federation, "train", examples=count) for count in (20, 10**12, 19, 20)] == [
        "taken",
        "OtherCount",
        "OtherCount",
        "taken",
    ]


def test_the_counts_of_an_evaluation_are_those_of_the_first_one():
    federation = CountedFederation(inner=Says(), manifest=MANIFEST)
    told = [(1.0, 5, 40), (0.5, 5, 40), (0.5, 5, 41), (0.5, 6, 40), (2.0, 5, 40)]
    marks = [said(federation, "evaluate", test_loss=loss, test_examples=n, test_tokens=tokens) for loss, n, tokens in told]
    assert marks == ["taken", "taken", "OtherCount", "OtherCount", "taken"]


def test_no_part_has_more_examples_than_the_job_takes():
    federation = CountedFederation(inner=Says(), manifest=MANIFEST, most_examples=19)
    assert said(federation, "train", examples=20) == "TooManyExamples"
    assert said(federation, "evaluate", test_loss=1.0, test_examples=10**9, test_tokens=10**10) == "TooManyExamples"
    assert said(federation, "evaluate", test_loss=1.0, test_examples=19, test_tokens=10**10) == "taken"


def test_a_list_of_counts_of_another_length_drops_its_client():
    manifest = Manifest(
        up={"evaluate": MessageSpec(facts=metrics(["loss", "macro_f1", "macro_f1_counts"], "test", "here"))}, down={}
    )
    federation = CountedFederation(inner=Says(), manifest=manifest, lengths=counts_of(classes=4))
    lists = [[1] * 12, [1] * 11, [], [1] * 15]
    said_of_each = [
        federation.ask({"a": Message(kind="evaluate", facts={"test.loss": 1.0, "test.macro_f1_counts": each})}) for each in lists
    ]
    marks = ["taken" if reply.message else reply.error.mark for (reply,) in said_of_each]
    assert marks == ["taken", "OtherLength", "OtherLength", "OtherLength"]


def test_lengths_are_those_that_metrics_report():
    texts, references = ["a b c", "d"], [["a b", "c"], ["d"]]
    lengths = counts_of(classes=5)
    assert lengths == {
        "bleu_counts": len(bleu(texts, references).counts),
        "chrf_counts": len(chrf(texts, references).counts),
        "macro_f1_counts": len(class_counts([0, 1], [4, 1], 5)),
    }


def test_counts_of_a_part_are_kept_over_a_resume():
    rows = [
        {"round": 0, "scope": "client", "client": "a", "metric": "examples", "value": 5.0},
        {"round": 0, "scope": "client-validation", "client": "a", "metric": "tokens", "value": 70.0},
        {"round": 0, "scope": "client", "client": "a", "metric": "loss", "value": 1.0},
        {"round": 0, "scope": "personal", "client": "a", "metric": "examples", "value": 9.0},
        {"round": 0, "scope": "test", "client": "", "metric": "examples", "value": 9.0},
    ]
    assert reported(rows) == {"a": {"test.examples": 5.0, "validation.tokens": 70.0}}
    federation = CountedFederation(inner=Says(), manifest=MANIFEST, before=reported(rows))
    assert said(federation, "evaluate", test_examples=6.0) == "OtherCount"
    assert said(federation, "evaluate", test_examples=5.0) == "taken"


@pytest.mark.parametrize(
    ("weights", "most", "wanted"),
    [
        ([3.0, 1.0], 1.0, [3.0, 1.0]),
        ([3.0, 1.0, 1.0], 0.5, [2.0, 1.0, 1.0]),  # 2 of 4
        ([1e12, 100.0, 300.0], 0.5, [400.0, 100.0, 300.0]),
        ([10.0, 10.0, 1.0, 1.0], 0.4, [4.0, 4.0, 1.0, 1.0]),  # 4 of 10
        ([5.0, 1.0], 0.5, [1.0, 1.0]),
        ([5.0, 1.0], 0.2, [1.0, 1.0]),  # two clients cannot have a fifth each: they count alike
        ([7.0], 0.3, [7.0]),
        ([2.0, 2.0, 2.0], 0.34, [2.0, 2.0, 2.0]),
        ([], 0.5, []),
    ],
)
def test_weights_are_lowered_until_none_is_more_than_its_share(weights, most, wanted):
    assert capped(weights, most) == pytest.approx(wanted)


def test_updates_are_passed_on_as_they_come_unless_a_share_is_bounded():
    updates = [
        Update(client=name, version=0, delta={"w": torch.ones(1)}, weight=weight)
        for name, weight in (("a", 9.0), ("b", 1.0), ("c", 1.0))
    ]
    taken = []
    assert next(limited((taken.append(u.client) or u for u in updates), 1.0)) is updates[0]
    assert taken == ["a"]
    assert [update.weight for update in limited(iter(updates), 0.5)] == [2.0, 1.0, 1.0]
