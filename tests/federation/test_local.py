"""The engine in this process."""

import gc
import weakref

import pytest
import torch

from fedtailor.federation import LocalFederation
from fedtailor.federation.local import failure_of
from fedtailor.messages import FactSpec, Manifest, MessageSpec, TensorSpec, encode
from fedtailor.protection import Gate, gate
from fedtailor.records import ClientInfo, Message

SPEC = MessageSpec(tensors={"w": TensorSpec(dtype="float32", shape=(2,))}, facts={"n": FactSpec(type="int", purpose="count")})
GATE = Gate(manifest=Manifest(up={"ping": SPEC}, down={"ping": SPEC}))


class Echo:
    def __init__(self, answer):
        self.made = answer
        self.got = None

    def answer(self, message):
        self.got = message
        return self.made(message)


def federation(**answers):
    halves = {name: Echo(answer) for name, answer in answers.items()}
    faults = {}
    infos = [ClientInfo(id=name, examples=1) for name in halves]
    return LocalFederation(halves, infos, GATE, lambda client, fault: faults.update({client: fault})), halves, faults


def ping(value=1.0, n=0):
    return Message(kind="ping", tensors={"w": torch.full((2,), value)}, facts={"n": n})


def crash(message):
    raise ZeroDivisionError("patient Smith has 0 visits")


def test_a_request_is_frozen_when_it_is_sent():
    engine, halves, _ = federation(a=lambda m: m)
    message = ping(1.0)
    engine.send("a", message)
    message.tensors["w"].add_(5)
    assert engine.next_reply().message.tensors["w"].tolist() == [1.0, 1.0]
    assert halves["a"].got.tensors["w"].data_ptr() != message.tensors["w"].data_ptr()


def test_traffic_is_the_length_of_what_was_encoded():
    engine, _, _ = federation(a=lambda m: ping(2.0, n=123456))
    reply = next(iter(engine.ask({"a": ping()})))
    assert reply.traffic.down_bytes == len(encode(ping()))
    assert reply.traffic.up_bytes == len(encode(ping(2.0, n=123456)))
    assert reply.traffic.up_bytes > reply.traffic.down_bytes


def test_a_fault_is_a_reply_that_reveals_nothing_of_its_text():
    engine, _, faults = federation(a=crash, b=lambda m: m, c=lambda m: ping(float("nan")), d=lambda m: Message(kind="ping"))
    replies = {r.client: r for r in engine.ask(dict.fromkeys("abcd", ping()))}
    assert replies["b"].error is None
    assert replies["a"].message is None
    assert (replies["a"].error.kind, replies["a"].error.mark) == ("failed", "ZeroDivisionError")
    assert "Smith" not in repr(replies["a"])
    assert "Smith" in str(faults["a"])
    assert (replies["c"].error.kind, replies["d"].error.kind) == ("not-finite", "off-manifest")


def test_a_cancelled_request_is_never_worked_on():
    engine, halves, _ = federation(a=lambda m: m, b=lambda m: m)
    ticket = engine.send("a", ping())
    engine.send("b", ping())
    engine.cancel(ticket)
    assert engine.next_reply().client == "b"
    assert halves["a"].got is None


@pytest.mark.parametrize("large", [False, True], ids=["bytes", "stream"])
def test_messages_that_alternate_are_encoded_once_each_and_let_go_when_none_waits(monkeypatch, large):
    """Ten clients of two ranks, by turns: two encodings, also after some have answered; a message that nobody waits for is not held."""
    names = list("abcdefghij")
    engine, _, _ = federation(**dict.fromkeys(names, lambda message: ping(2.0)))
    leave, sent = GATE.leave_server, []
    monkeypatch.setattr(gate, "is_large", lambda tensors: large)
    monkeypatch.setattr(gate.Gate, "leave_server", lambda self, message: sent.append(leave(message)) or sent[-1])
    one, two = ping(1.0), ping(3.0)
    for place, name in enumerate(names):
        if place == 8:
            assert [engine.next_reply().client for _ in range(4)] == names[:4]
        engine.send(name, (one, two)[place % 2])
    assert len(sent) == 2
    length = len(sent[0])
    for name in names[4:]:
        reply = engine.next_reply()
        assert (reply.client, reply.error, reply.traffic.down_bytes) == (name, None, length)
    gone = weakref.ref(one)
    del one, reply
    sent.clear()
    gc.collect()
    assert gone() is None
    engine.send("a", two)
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("fault", "mark"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 38 bytes. Error code 12"), "OutOfMemoryError"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 38 bytes."), "OutOfMemoryError"),
        (MemoryError("the row of Mrs Jones"), "MemoryError"),
        (torch.OutOfMemoryError("CUDA out of memory"), "OutOfMemoryError"),
        (RuntimeError("shapes differ"), "RuntimeError"),
    ],
)
def test_want_of_memory_is_known_by_its_mark(fault, mark):
    failure = failure_of(fault)
    assert (failure.kind, failure.mark) == ("failed", mark)
