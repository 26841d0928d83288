"""What clients say of how many examples they scored: bounded by the job, and no more than they train on decides."""

import pytest

from fedtailor.messages import Manifest, MessageSpec, write
from fedtailor.prompting import Score as Sums
from fedtailor.protocols.prompting.asking import ask_scores
from fedtailor.protocols.prompting.messages import VALIDATION, Score, Scored, scoring_call
from fedtailor.protocols.prompting.searching import ALL
from fedtailor.protocols.rounds.counts import CountedFederation
from fedtailor.protocols.rounds.sampling import Sampler
from fedtailor.records import ClientInfo, Reply, Traffic

CLIENTS = (ClientInfo(id="a", examples=10), ClientInfo(id="b", examples=20))


class Says:
    """A federation whose clients give these answers."""

    clients = CLIENTS

    def __init__(self, answers):
        self.answers = answers

    def ask(self, requests, timeout_s=None):
        for client in requests:
            yield Reply(client=client, message=write(self.answers[client]), traffic=Traffic())


def scored(examples, loss, right):
    return Scored(version=3, scored=examples, loss_sums=[loss], right=[right], forward_tokens=1, seconds=0.0)


def ask(answers, **more):
    request = Score(version=3, part=VALIDATION, most=ALL, prompts=["a prompt"])
    sampler = Sampler(clients=CLIENTS, per_round=2, seed=0)
    manifest = Manifest(up={"scored": MessageSpec(facts=scoring_call().spec(Scored).facts)}, down={})
    federation = CountedFederation(inner=Says(answers), manifest=manifest, **more)
    return ask_scores(federation, sampler, request, version=3, most=ALL, candidates=1, quorum=0.5, training=False)


def test_sums_of_a_validation_part_count_as_they_are():
    found = ask({"a": scored(4, 8.0, 1), "b": scored(6, 6.0, 3)})
    assert found.sums == [Sums(loss_sum=14.0, right=4, examples=10)]


def test_a_client_that_claims_a_huge_validation_part_counts_as_what_it_trains_on():
    # a: 10 trained on; 8e8 over 1e9 examples are a mean of 0.8, over 10: 8.0; half of them right: 5
    found = ask({"a": scored(10**9, 8e8, 5 * 10**8), "b": scored(6, 6.0, 3)})
    (only,) = found.sums
    assert (only.examples, only.right) == (16, 8)
    assert only.loss_sum == pytest.approx(14.0)


def test_no_validation_part_has_more_examples_than_the_job_takes():
    found = ask({"a": scored(6, 6.0, 3), "b": scored(9, 1.0, 9)}, most_examples=8)
    assert found.sums == [Sums(loss_sum=6.0, right=3, examples=6)]
    assert [(client, failure.mark) for client, failure in found.failures] == [("b", "TooManyExamples")]
