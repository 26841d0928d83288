"""The engine for other machines, over a line that needs none: what clients do wrong, and what it does about it."""

import threading
import time

import pytest
import torch

from fedtailor.errors import RunError
from fedtailor.federation.nvflare import packing
from fedtailor.federation.nvflare.engine import NetFederation, Stopped
from fedtailor.federation.nvflare.line import Patience, Unanswered
from fedtailor.federation.nvflare.packing import pack, unpack
from fedtailor.messages import FactSpec, Manifest, MessageSpec, TensorSpec, encode
from fedtailor.protection import Gate
from fedtailor.records import ClientInfo, Message

SPEC = MessageSpec(tensors={"w": TensorSpec(dtype="float32", shape=(2,))}, facts={"n": FactSpec(type="int", purpose="count")})
GATE = Gate(manifest=Manifest(up={"ping": SPEC}, down={"ping": SPEC}))


def ping(value=1.0, n=0, size=2):
    return Message(kind="ping", tensors={"w": torch.full((size,), value)}, facts={"n": n})


def answered(message):
    return {**pack(encode(message)), "seconds": 0.0}


class Line:
    """Clients as functions of the packed request."""

    def __init__(self, **answers):
        self.answers, self.dead, self.aborted, self.forgotten = answers, set(), False, []

    def answer(self, client, ticket, packed, timeout_s):
        return self.answers[client](packed)

    def alive(self, client, timeout_s):
        if client in self.dead:
            raise Unanswered(client)
        return True

    def forget(self, client, ticket):
        self.forgotten.append((client, ticket))

    def stopped(self):
        return self.aborted


def engine(line, **patience):
    infos = [ClientInfo(id=name, examples=1) for name in line.answers]
    return NetFederation(line, infos, GATE, Patience(**{"beat_s": 0.02, "misses": 2, **patience}))


def echo(packed):
    return answered(GATE.enter_client(unpack(packed)))


def late(seconds, answer=echo):
    def wait(packed):
        time.sleep(seconds)
        return answer(packed)

    return wait


def test_replies_come_as_they_arrive_and_are_counted_as_encoded():
    federation = engine(Line(a=late(0.3), b=echo))
    replies = list(federation.ask(dict.fromkeys("ab", ping(n=7))))
    assert [reply.client for reply in replies] == ["b", "a"]
    for reply in replies:
        assert reply.message.tensors["w"].tolist() == [1.0, 1.0]
        assert (reply.traffic.up_bytes, reply.traffic.down_bytes) == (len(encode(ping(n=7))), len(encode(ping(n=7))))


@pytest.mark.parametrize(
    ("answer", "kind", "mark"),
    [
        (lambda p: answered(Message(kind="ping", tensors={"v": torch.ones(2)}, facts={"n": 0})), "off-manifest", "OffManifest"),
        (lambda p: answered(ping(size=20)), "off-manifest", "OffManifest"),
        (lambda p: answered(ping(float("nan"))), "not-finite", "NotFinite"),
        (lambda p: answered(Message(kind="other")), "off-manifest", "OffManifest"),
        (lambda p: {"blob": b"\x00\x00\x00\x02{}", "seconds": 0.0}, "off-manifest", "OffManifest"),
        (lambda p: {"blob": "text"}, "off-manifest", "OffManifest"),
        (lambda p: "text", "lost", "Unanswered"),
        (lambda p: {"failure": ["failed", "OutOfMemoryError"]}, "failed", "OutOfMemoryError"),
        (lambda p: {"failure": ["patient Smith", "died of /home/smith"]}, "failed", "Unnamed"),
        (lambda p: {**answered(ping()), "seconds": "soon"}, "failed", "ValueError"),
    ],
    ids=["names", "ten-times-the-size", "nan", "kind", "bytes", "no-bytes", "no-mapping", "failure", "texts", "seconds"],
)
def test_a_client_that_sends_something_else_is_dropped_by_name_and_the_others_continue(answer, kind, mark):
    replies = {reply.client: reply for reply in engine(Line(a=answer, b=echo)).ask(dict.fromkeys("ab", ping()))}
    assert replies["b"].error is None
    assert (replies["a"].message, replies["a"].error.kind, replies["a"].error.mark) == (None, kind, mark)
    assert "mith" not in repr(replies["a"])


@pytest.mark.parametrize("seconds", [float("nan"), float("-inf"), -1e9, float("inf")])
def test_the_time_that_a_client_says_it_worked_makes_no_nonsense_of_the_ledger(seconds):
    federation = engine(Line(a=lambda packed: {**answered(ping()), "seconds": seconds}))
    (reply,) = federation.ask({"a": ping()})
    assert reply.message is not None
    assert 0 <= reply.traffic.seconds < 60


def test_a_late_answer_is_a_timeout_and_counts_for_nothing_when_it_comes():
    line = Line(a=late(1.0), b=echo)
    federation = engine(line, answer_s=0.4)
    assert [(reply.client, reply.error and reply.error.kind) for reply in federation.ask(dict.fromkeys("ab", ping()))] == [
        ("b", None),
        ("a", "timeout"),
    ]
    time.sleep(0.8)  # the late one is here by now
    line.answers["a"] = lambda packed: answered(ping(2.0))
    reply = next(iter(federation.ask({"a": ping()})))
    assert reply.message.tensors["w"].tolist() == [2.0, 2.0]
    assert line.forgotten == [("a", "1")]


def test_the_callers_own_limit_holds_for_one_reply():
    federation = engine(Line(a=late(2.0)))
    began = time.monotonic()
    assert next(iter(federation.ask({"a": ping()}, timeout_s=0.2))).error.kind == "timeout"
    assert time.monotonic() - began < 1.5


def test_a_client_without_signs_of_life_is_lost_and_stays_so():
    line = Line(a=late(5.0), b=echo)
    line.dead = {"a"}
    federation = engine(line)
    began = time.monotonic()
    assert {r.client: r.error and r.error.mark for r in federation.ask(dict.fromkeys("ab", ping()))} == {
        "a": "NoSignOfLife",
        "b": None,
    }
    line.answers["a"] = echo
    assert next(iter(federation.ask({"a": ping()}))).error.mark == "StillLost"
    assert time.monotonic() - began < 3


def test_a_call_that_nobody_answers_is_a_lost_client():
    def nobody(packed):
        raise Unanswered("a")

    assert next(iter(engine(Line(a=nobody)).ask({"a": ping()}))).error.kind == "lost"


def test_a_stopped_job_is_no_time_out():
    line = Line(a=None)

    def stop(packed):  # NVFlare then claims that the call timed out
        line.aborted = True
        raise TimeoutError

    line.answers["a"] = stop
    with pytest.raises(Stopped, match="stopped the job"):
        next(iter(engine(line).ask({"a": ping()})))


def test_a_stop_is_noticed_while_nobody_answers():
    line = Line(a=late(5.0))
    federation = engine(line)
    federation.send("a", ping())
    threading.Timer(0.1, lambda: setattr(line, "aborted", True)).start()
    with pytest.raises(Stopped):
        federation.next_reply()
    federation.close()


def test_a_cancelled_request_is_forgotten_at_both_ends():
    line = Line(a=late(0.5), b=late(0.6, lambda packed: answered(ping(3.0))))
    federation = engine(line)
    ticket = federation.send("a", ping())
    federation.send("b", ping())
    federation.cancel(ticket)
    assert federation.next_reply().client == "b"
    assert line.forgotten == [("a", str(ticket))]
    with pytest.raises(RunError, match="nobody was asked"):
        federation.next_reply()


def test_what_many_are_sent_is_encoded_once(monkeypatch):
    sent, leave = [], GATE.leave_server
    monkeypatch.setattr(type(GATE), "leave_server", lambda self, message: sent.append(message) or leave(message))
    list(engine(Line(a=echo, b=echo, c=echo)).ask(dict.fromkeys("abc", ping())))
    assert len(sent) == 1


@pytest.mark.parametrize("small", [True, False], ids=["blob", "tensors"])
def test_large_messages_go_as_contiguous_tensors_and_count_the_same_bytes(monkeypatch, small):
    monkeypatch.setattr(packing, "SMALL_BYTES", 4_000_000 if small else 10)
    packed = pack(encode(ping(5.0, n=3)))
    assert set(packed) == ({"blob"} if small else {"head", "tensors"})
    assert small or all(tensor.is_contiguous() for tensor in packed["tensors"].values())
    encoded = unpack(packed)
    assert len(encoded) == len(encode(ping(5.0, n=3)))
    message = GATE.enter_server(encoded)
    assert (message.tensors["w"].tolist(), message.facts) == ([5.0, 5.0], {"n": 3})
    reply = next(iter(engine(Line(a=echo)).ask({"a": ping(5.0, n=3)})))
    assert reply.message.tensors["w"].tolist() == [5.0, 5.0]
    assert reply.traffic.up_bytes == len(encode(ping(5.0, n=3)))
