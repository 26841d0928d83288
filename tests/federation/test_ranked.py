"""What clients of another rank are sent, and how their answers are read."""

from dataclasses import dataclass

import pytest
import torch

from fedtailor.errors import OffManifest
from fedtailor.federation.ranked import RANK, RankedFederation, RankOf, any_rank
from fedtailor.messages import Call, manifest_of, specs_of
from fedtailor.messages.record import Record, tensors
from fedtailor.records import Message, Reply
from fedtailor.tensors import Tensors

A, B, HEAD = "m.lora_A.weight", "m.lora_B.weight", "head.weight"
SHARED = {
    A: torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
    B: torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    HEAD: torch.tensor([[7.0]]),
    "m.carried_A.weight": torch.ones(3, 2),
}
HALF = RankOf(rank=1, scale=4.0, shared_scale=2.0)


class Recorder:
    """Notes what is sent, and answers as it is told."""

    clients = ()

    def __init__(self, answers=None):
        self.sent, self.answers, self.cancelled = [], answers or {}, []

    def send(self, client, message):
        self.sent.append((client, message))
        return len(self.sent)

    def next_reply(self, timeout_s=None):
        client, _ = self.sent[-1]
        return Reply(client=client, message=self.answers[client])

    def cancel(self, ticket):
        self.cancelled.append(ticket)

    def ask(self, requests, timeout_s=None):
        for client, message in requests.items():
            self.send(client, message)
            yield self.next_reply()


def answer(rank, scale):
    return Message(
        kind="train", tensors={A: torch.ones(rank, 2), B: torch.ones(3, rank), HEAD: torch.ones(1, 1)}, facts={"scale": [scale]}
    )


def test_a_client_is_sent_its_rank_in_its_scale():
    # B[:, :1] * 2 / 4: its product counts 4 at the client, as much as the first column counts 2 at the server
    cut = HALF.cut(SHARED)
    assert cut[A].tolist() == [[1.0, 2.0]]
    assert cut[B].tolist() == [[0.5], [1.5], [2.5]]
    assert torch.equal(cut[HEAD], SHARED[HEAD])
    assert torch.equal(cut["m.carried_A.weight"], SHARED["m.carried_A.weight"])
    assert all(t.is_contiguous() for t in cut.values())


def test_its_changes_are_read_in_the_scale_of_the_server():
    federation = RankedFederation(inner=Recorder({"a": answer(1, 4.0), "b": answer(2, 2.0)}), ranks={"a": HALF})
    replies = {reply.client: reply.message for reply in federation.ask({"a": Message(kind="train"), "b": Message(kind="train")})}
    assert replies["a"].tensors[B].tolist() == [[2.0]] * 3  # times 4 / 2
    assert replies["a"].tensors[A].tolist() == [[1.0, 1.0]]
    assert replies["a"].facts["scale"] == [2.0]
    assert replies["b"] is federation.inner.answers["b"]


def test_there_and_back_the_product_is_the_same():
    draw = torch.Generator().manual_seed(0)
    shared = {A: torch.randn(4, 5, generator=draw), B: torch.randn(6, 4, generator=draw)}
    own = RankOf(rank=3, scale=0.7, shared_scale=1.9)
    received = own.cut(shared)
    delta = {name: torch.randn(t.shape, generator=draw) for name, t in received.items()}
    read = own.widened(delta)
    at_client = 0.7 * (received[B] + delta[B]) @ (received[A] + delta[A])
    at_server = 1.9 * (shared[B][:, :3] + read[B]) @ (shared[A][:3] + read[A])
    torch.testing.assert_close(at_server, at_client)


@pytest.mark.parametrize("wrong", [answer(2, 4.0), answer(1, 2.0)], ids=["rank", "scale"])
def test_an_answer_of_another_rank_or_scale_is_a_failure(wrong):
    federation = RankedFederation(inner=Recorder({"a": wrong}), ranks={"a": HALF})
    federation.send("a", Message(kind="train", tensors=SHARED))
    reply = federation.next_reply()
    assert reply.message is None
    assert (reply.error.kind, reply.error.mark) == ("off-manifest", "OtherRank")


def test_clients_of_one_rank_are_sent_one_message():
    inner = Recorder()
    federation = RankedFederation(inner=inner, ranks={"a": HALF, "b": RankOf(rank=1, scale=4.0, shared_scale=2.0)})
    message = Message(kind="evaluate", tensors=SHARED, facts={"name": "x"})
    for client in "abc":
        federation.send(client, message)
    federation.cancel(2)
    sent = dict(inner.sent)
    assert sent["a"] is sent["b"]
    assert sent["c"] is message
    assert sent["a"].facts == message.facts
    assert inner.cancelled == [2]


@dataclass(frozen=True, kw_only=True)
class Weights(Record, kind="train"):
    """Weights alone."""

    weights: Tensors = tensors(reveals="weights")


def test_the_manifest_allows_lower_ranks_and_no_higher_ones():
    call = any_rank(Call(question=Weights, answers=(Weights,), forms={"weights": specs_of(SHARED)}), 2)
    spec, manifest = call.spec(Weights), manifest_of([call])
    assert spec.tensors[A].shape == (RANK, 2)
    assert spec.tensors[B].shape == (3, RANK)
    assert spec.tensors["m.carried_A.weight"].shape == (3, 2)
    manifest.check(Message(kind="train", tensors=SHARED), "up")
    manifest.check(Message(kind="train", tensors=HALF.cut(SHARED)), "up")
    for wrong in (torch.ones(3, 2), torch.ones(2, 3)):
        with pytest.raises(OffManifest, match=A):
            manifest.check(Message(kind="train", tensors={**SHARED, A: wrong}), "up")
