"""Messages of a secure sum that were changed on the way: nothing but our own errors, on both sides."""

import resource

import numpy as np
import pytest
import torch

from fedtailor.errors import FedtailorError
from fedtailor.interfaces import Crossing
from fedtailor.learning.store import Store
from fedtailor.learning.training import one_by_one
from fedtailor.messages import encode, manifest_of, write
from fedtailor.protection import SecureAggregation, make_gate
from fedtailor.protection.secure.identity import simulated
from fedtailor.protection.secure.member import Behind
from fedtailor.protection.secure.messages import AskAgree, AskKeys, AskShares, Deliver, Unmask
from fedtailor.protocols.averaging.messages import Trained, training_call
from fedtailor.records import Message

SHARED = {"a": torch.zeros(3, 4), "b": torch.zeros(5)}
CLIENTS = ["c0", "c1", "c2"]


class Half:
    """Answers with an update."""

    def answer(self, message):
        delta = {name: torch.ones_like(value) for name, value in SHARED.items()}
        return write(
            Trained(version=0, examples=1, targets=1, tokens=1, steps=1, first_loss=1.0, last_loss=1.0, seconds=1.0, delta=delta)
        )


class Sum:
    """Three clients up to their masked updates, and the messages that were exchanged for it, as bytes."""

    def __init__(self, bits):
        self.secure = SecureAggregation(weights="uniform", bits=bits)
        call = training_call(SHARED, dtype="float32", sent=[list(SHARED)], control=False, clients=False)
        self.manifest = manifest_of([self.secure.shape(call), *self.secure.calls()])
        self.states = {client: Store(id=client) for client in CLIENTS}
        self.halves = {
            client: Behind(half=Half(), client=client, kept=self.states[client], identity=simulated(client), consistency=True)
            for client in CLIENTS
        }
        self.gate = make_gate(self.manifest, [self.secure], kept=self.states)
        self.down, self.up = [], []
        keys = self.ask(dict.fromkeys(CLIENTS, AskKeys(version=0)))
        named = {
            "clients": CLIENTS,
            "sealing_keys": [keys[client].facts["sealing_key"] for client in CLIENTS],
            "masking_keys": [keys[client].facts["masking_key"] for client in CLIENTS],
            "signatures": [keys[client].facts["signature"] for client in CLIENTS],
            "proofs": [keys[client].facts["proof"] for client in CLIENTS],
        }
        shares = self.ask(dict.fromkeys(CLIENTS, AskShares(threshold=3, most_examples=1, **named)))
        sealed = {c: [shares[sender].facts["sealed"][place] for sender in CLIENTS] for place, c in enumerate(CLIENTS)}
        self.ask({client: Deliver(senders=CLIENTS, sealed=sealed[client]) for client in CLIENTS})
        member = self.states["c0"].brief["secure"]
        update = {name: torch.ones_like(value) for name, value in SHARED.items()}
        sent = self.secure.leave(
            Message(kind="train", tensors=update, facts=Half().answer(None).facts),
            Crossing(client="c0", spec=self.gate.manifest.up["train"].plain(), kept=self.states["c0"]),
        )
        self.up.append(("train", encode(sent)))
        assert member.masked
        agreed = self.ask({"c0": AskAgree(answered=CLIENTS, dropped=[])})["c0"].facts["signature"]
        asked = Unmask(answered=CLIENTS, dropped=[], signers=CLIENTS, signatures=[agreed] * 3)
        self.down.append(("c0", encode(write(asked))))

    def ask(self, requests):
        answers = {}
        for client, record in requests.items():
            message = write(record)
            self.down.append((client, encode(message)))
            answers[client] = one_by_one(self.halves[client].answer(message))
            self.up.append((message.kind, encode(answers[client])))
        return answers


def damaged(data, draw):
    """Return the bytes with a few changed, some left out, or some put in."""
    found = bytearray(data)
    for _ in range(int(draw.integers(1, 4))):
        place = int(draw.integers(len(found)))
        way = int(draw.integers(4))
        if way == 0:
            found[place] = int(draw.integers(256))
        elif way == 1:
            del found[place : place + int(draw.integers(1, 40))]
        elif way == 2:
            found[place:place] = draw.bytes(int(draw.integers(1, 40)))
        else:
            found[place] ^= 1 << int(draw.integers(8))
        if not found:
            break
    return bytes(found)


def check(count, bits):
    draw, whole, refused = np.random.default_rng(bits), Sum(bits), 0
    for _ in range(count):
        if draw.integers(2):
            kind, data = whole.up[int(draw.integers(len(whole.up)))]
            way = lambda data=data, kind=kind: whole.gate.enter_server(damaged(data, draw), kind)  # noqa: E731
        else:
            client, data = whole.down[int(draw.integers(len(whole.down)))]
            gate = whole.gate.at(client)

            def way(data=data, gate=gate, client=client):
                return one_by_one(whole.halves[client].answer(gate.enter_client(damaged(data, draw))))

        try:
            way()
        except FedtailorError:
            refused += 1
    assert refused > count / 2  # some bytes may change without harm, such as a digit of a key


def test_a_few_hundred():
    check(300, 32)


@pytest.mark.large
@pytest.mark.parametrize("bits", [16, 32])
def test_ten_thousand_in_bounded_memory(bits):
    check(100, bits)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check(5_000, bits)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
