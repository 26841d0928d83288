"""A site that sends what it should not, in a whole job with the real packing: it is dropped by name, and the round continues."""

import json
import threading

import pytest
import torch
from nets import PROTOCOLS, at_server, net_job, same_adapter

from fedtailor.federation.nvflare import packing
from fedtailor.federation.nvflare.engine import NetFederation
from fedtailor.federation.nvflare.packing import pack, unpack
from fedtailor.messages import decode, encode
from fedtailor.models.cut import CutModel
from fedtailor.network.kit.site_file import read_site_file
from fedtailor.network.site.at_site import describe, guarded, site_parts
from fedtailor.records import Message

BAD, ROUND = "site-1", 2
LAST = {
    "averaging": "train",
    "distillation": "train",
    "split": "split-end",
    "split-pipelined": "split-end",
}  # the kind of message that ends a client's part of a round


ONE_AT_A_TIME = threading.RLock()  # the server's model and those of sites share torch's chance, as they are in one process here


class InProcessLine:
    """Sites whose models are in this process; `deed` may put something else in the place of the bad site's answers."""

    def __init__(self, kits):
        self.kits, self.halves, self.deed = kits, {}, None

    @property
    def sites(self):
        return sorted(self.kits)

    def open(self, client, told, timeout_s):
        if told["ask"]:
            return {"info": {}}
        with ONE_AT_A_TIME:
            file = read_site_file(self.kits[client])
            parts = site_parts(client, self.kits[client], file, json.loads(json.dumps(told)), print)
            self.halves[client] = guarded(client, parts, file, self.kits[client])
            return {"info": describe(client, parts, file)}

    def answer(self, client, ticket, packed, timeout_s):
        with ONE_AT_A_TIME:
            reply = unpack(pack(self.halves[client].answer(unpack(packed))))
        honest = decode(reply) if isinstance(reply, bytes) else reply.decode()
        told = honest if client != BAD or self.deed is None else self.deed(honest)
        return told if isinstance(told, dict) else {**pack(encode(told)), "seconds": 0.1}

    def alive(self, client, timeout_s):
        return True

    def forget(self, client, ticket):
        pass

    def stopped(self):
        return False


class Once:
    """Does a deed once: in place of the answer that ends the bad site's part of a round; every one before is remembered."""

    def __init__(self, protocol, deed):
        self.kind, self.deed, self.before, self.count = LAST[protocol], deed, [], 0

    def __call__(self, honest):
        if honest.kind != self.kind:
            return honest
        self.before.append(honest)
        return self.deed(honest, self.before) if len(self.before) == ROUND else honest


def change(message, tensors):
    return Message(kind=message.kind, facts=message.facts, tensors=tensors)


def other_names(honest, before):
    return change(honest, {f"{name}.x": value for name, value in honest.tensors.items()})


def other_shapes(honest, before):
    return change(honest, {name: value.unsqueeze(0) for name, value in honest.tensors.items()})


def not_a_number(honest, before):
    first, *_ = honest.tensors
    spoilt = {name: value.float().clone() for name, value in honest.tensors.items()}
    spoilt[first].view(-1)[0] = float("nan")
    return change(honest, {name: value.to(honest.tensors[name].dtype) for name, value in spoilt.items()})


def ten_times_the_size(honest, before):
    return change(honest, {name: torch.cat([value] * 10) for name, value in honest.tensors.items()})


def of_an_old_round(honest, before):
    return before[0]


def nothing(honest, before):
    raise TimeoutError  # what the engine says when nobody answers in time


DEEDS = {
    other_names: "off-manifest (OffManifest)",
    other_shapes: "off-manifest (OffManifest)",
    not_a_number: "what it sent is not finite",
    ten_times_the_size: "off-manifest (OffManifest)",
    of_an_old_round: "off-manifest (StaleVersion)",
    nothing: "timeout (TimedOut)",
}


def fails(honest, before):
    return {"failure": ["failed", "OSError"]}


@pytest.fixture
def carry_out(net, monkeypatch):
    """Return a way to carry a job of three rounds out in which the bad site does a deed in the second."""
    cut = CutModel.run

    def alone(*inputs, **named):
        with ONE_AT_A_TIME:
            return cut(*inputs, **named)

    monkeypatch.setattr(CutModel, "run", alone)

    def run(protocol, deed=None, *, name):
        line = InProcessLine(net.kits)
        line.deed = None if deed is None else Once(protocol, deed)
        job = net_job(net, PROTOCOLS[protocol], stop__rounds=3, evaluation={"every": 3, "generate": {"max_new_tokens": 2}})
        done = at_server(job, line, net.folder / name)
        assert (done.ended, done.text) == ("done", "")
        failures = [(facts["client"], facts["round"], facts["text"]) for kind, facts in done.events if kind == "failure"]
        return done, failures

    return run


@pytest.mark.few(1)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_site_that_misbehaves_is_named_and_leaves_no_trace_in_the_result(protocol, carry_out):
    without, failures = carry_out(protocol, fails, name="fails")
    assert failures == [(BAD, ROUND, "failed (OSError)")]
    for deed, text in DEEDS.items():
        done, failures = carry_out(protocol, deed, name=deed.__name__)
        assert failures == [(BAD, ROUND, text)], deed.__name__
        assert [kind for kind, _ in done.events].count("round") == 3
        assert same_adapter(done.folder, without.folder), deed.__name__
        assert json.loads((done.folder / "summary.json").read_text())["clients"]["failed"] == []  # it took part again


def test_large_messages_are_looked_at_as_small_ones_are(monkeypatch, carry_out):
    monkeypatch.setattr(packing, "SMALL_BYTES", 10)  # so that all goes as tensors
    without, _ = carry_out("averaging", fails, name="fails")
    for deed in (other_names, other_shapes, not_a_number, ten_times_the_size):
        done, failures = carry_out("averaging", deed, name=deed.__name__)
        assert failures == [(BAD, ROUND, DEEDS[deed])]
        assert same_adapter(done.folder, without.folder)


def test_a_second_reply_to_a_request_counts_for_nothing(monkeypatch, carry_out):
    whole, _ = carry_out("averaging", name="whole")
    call = NetFederation._call

    def twice(self, ticket, waiting):
        call(self, ticket, waiting)
        call(self, ticket, waiting)

    monkeypatch.setattr(NetFederation, "_call", twice)
    done, failures = carry_out("averaging", name="twice")
    assert failures == []
    assert same_adapter(done.folder, whole.folder)
