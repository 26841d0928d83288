"""A client whose part of a secure sum has a form that shows it is none: it is named, and the round continues with the others."""

from dataclasses import replace

import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.serialization import Encoding

from fedtailor.federation import LocalFederation
from fedtailor.learning.store import Store
from fedtailor.learning.training import one_by_one
from fedtailor.messages import manifest_of, read, write
from fedtailor.protection import SecureAggregation, make_gate
from fedtailor.protection.secure import identity
from fedtailor.protection.secure.identity import simulated
from fedtailor.protection.secure.masks import KeyPair
from fedtailor.protection.secure.shamir import PRIME
from fedtailor.protocols.averaging.messages import Train, Trained, training_call
from fedtailor.records import ClientInfo

SHARED = {"a": torch.zeros(3, 4), "b": torch.zeros(5)}
CLIENTS = [f"c{k}" for k in range(5)]
BAD = "c2"


class Half:
    """Answers with an update of its own number."""

    def __init__(self, value):
        self.value = value

    def answer(self, message):
        delta = {name: torch.full_like(value, self.value) for name, value in SHARED.items()}
        return write(
            Trained(version=0, examples=10, targets=1, tokens=1, steps=1, first_loss=1.0, last_loss=1.0, seconds=1.0, delta=delta)
        )


class Changed:
    """Changes some facts of its answers of one kind."""

    def __init__(self, inner, kind, change):
        self.inner, self.kind, self.change = inner, kind, change

    def answer(self, message):
        found = one_by_one(self.inner.answer(message))
        return replace(found, facts={**found.facts, **self.change(found.facts)}) if message.kind == self.kind else found


def summed(kind, change, *, bad=(BAD,), threshold=4, consistency=True):
    """Return the replies of a round of five, by client, of which the bad ones change their answers of a kind."""
    secure = SecureAggregation(threshold=threshold, weights="uniform", consistency=consistency)
    states = {client: Store(id=client) for client in CLIENTS}
    call = training_call(SHARED, dtype="float32", sent=[list(SHARED)], control=False, clients=False)
    gate = make_gate(manifest_of([secure.shape(call), *secure.calls()]), [secure], kept=states)
    halves = {client: secure.at_client(Half(float(n)), client, states[client]) for n, client in enumerate(CLIENTS)}
    halves |= {client: Changed(halves[client], kind, change) for client in bad}
    local = LocalFederation(halves, [ClientInfo(id=client, examples=10) for client in CLIENTS], gate, print)
    request = write(Train(version=0, rate_factor=1.0, shared=SHARED))
    server = replace(secure, weights="examples")  # of the same ten each; what clients do of themselves does not help it
    return {reply.client: reply for reply in server.around(local).ask(dict.fromkeys(CLIENTS, request))}


def other(name, value):
    """Return a change of the list or text of a fact."""
    return lambda facts: {name: value(facts[name])}


def certificate(key, signer, algorithm):
    """Return a certificate in the name of the bad client that somebody made up."""
    name = identity._name(BAD)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key).serial_number(1)
    made = made.not_valid_before(identity.datetime(2020, 1, 1)).not_valid_after(identity.datetime(2040, 1, 1))
    return made.sign(signer, algorithm).public_bytes(Encoding.DER).hex()


def of_another_kind():
    key = ec.generate_private_key(ec.SECP256R1())
    return certificate(dsa.generate_private_key(1024).public_key(), key, hashes.SHA256())


BEFORE = {  # whose update is not in the sum
    "a key too short": ("secure-keys", other("sealing_key", lambda key: key[:-2]), "MalformedKeys"),
    "a key of no digits": ("secure-keys", other("masking_key", lambda key: "x" * 64), "MalformedKeys"),
    "a key in capitals": ("secure-keys", other("masking_key", lambda key: "AB" * 32), "MalformedKeys"),
    "a key of small order": ("secure-keys", other("sealing_key", lambda key: "00" * 32), "MalformedKeys"),
    "a key that was not signed": (
        "secure-keys",
        other("masking_key", lambda key: KeyPair.fresh().public.hex()),
        "WrongSignature",
    ),
    "no signature": ("secure-keys", other("signature", lambda text: ""), "WrongSignature"),
    "no certificate": ("secure-keys", other("proof", lambda text: "30"), "WrongSignature"),
    "another client's certificate": ("secure-keys", other("proof", lambda text: simulated("c1").proof), "WrongSignature"),
    "a certificate of another kind": ("secure-keys", other("proof", lambda text: of_another_kind()), "WrongSignature"),
    "a share too few": ("secure-shares", other("sealed", lambda texts: texts[:-1]), "MalformedShares"),
    "a share too short": ("secure-shares", other("sealed", lambda texts: [texts[0][:-2], *texts[1:]]), "MalformedShares"),
    "a share of no digits": ("secure-shares", other("sealed", lambda texts: ["x" * 296, *texts[1:]]), "MalformedShares"),
    "no share": ("secure-shares", other("sealed", lambda texts: ["", *texts[1:]]), "MalformedShares"),
    "a share for itself": ("secure-shares", other("sealed", lambda texts: [texts[0]] * 5), "MalformedShares"),
}
AFTER = {  # whose update is
    "a signature of something else": ("secure-agree", other("signature", lambda text: "0a" * 64), "WrongSignature"),
    "a signature too short": ("secure-agree", other("signature", lambda text: text[:-2]), "WrongSignature"),
    "an opened share too few": ("secure-unmask", other("seeds", lambda texts: texts[:-1]), "MalformedShares"),
    "an opened share too many": ("secure-unmask", other("keys", lambda texts: [*texts, "00" * 66]), "MalformedShares"),
    "an opened share too short": ("secure-unmask", other("seeds", lambda texts: ["00", *texts[1:]]), "MalformedShares"),
    "an opened share of no digits": ("secure-unmask", other("seeds", lambda texts: ["x" * 132, *texts[1:]]), "MalformedShares"),
    "a share beyond the prime": (
        "secure-unmask",
        other("seeds", lambda texts: [f"{PRIME:0132x}", *texts[1:]]),
        "MalformedShares",
    ),
}


def check(replies, mark, mean, bad=BAD):
    assert replies[bad].message is None
    assert (replies[bad].error.kind, replies[bad].error.mark) == ("off-manifest", mark)
    for client in (each for each in CLIENTS if each != bad):
        found = read(replies[client].message, Trained).delta
        assert torch.allclose(found["a"], torch.full((3, 4), mean), atol=1e-6)


@pytest.mark.parametrize("what", BEFORE)
@pytest.mark.parametrize("consistency", [True, False])
def test_who_sends_what_is_none_is_named_and_left_out_of_the_sum(what, consistency):
    kind, change, mark = BEFORE[what]
    check(summed(kind, change, consistency=consistency), mark, (0 + 1 + 3 + 4) / 4)


@pytest.mark.parametrize("what", AFTER)
def test_who_spoils_the_end_is_named_and_the_others_open_the_sum(what):
    kind, change, mark = AFTER[what]
    check(summed(kind, change), mark, (0 + 1 + 2 + 3 + 4) / 5)  # its update was masked already, and cannot be taken out


@pytest.mark.parametrize("what", [*BEFORE, *AFTER])
def test_of_two_where_too_few_remain_both_are_named_and_nothing_is_opened(what):
    kind, change, mark = (BEFORE | AFTER)[what]
    replies = summed(kind, change, bad=("c2", "c3"))
    assert all(reply.message is None for reply in replies.values())
    assert {client for client, reply in replies.items() if reply.error.mark == mark} == {"c2", "c3"}


def test_two_with_one_key_are_both_named():
    from fedtailor.protection.secure.forms import bad_keys
    from fedtailor.protection.secure.member import Member
    from fedtailor.protection.secure.messages import AskKeys

    members = {client: Member(me=client, version=0, identity=simulated(client)) for client in CLIENTS}
    members["c3"].sealing = members["c2"].sealing
    found = {client: member.keys(AskKeys(version=0)) for client, member in members.items()}
    assert set(bad_keys(found, 0)) == {"c2", "c3"}
    assert set(bad_keys(found, 1)) == set(CLIENTS)  # signed for another round


def test_who_counts_more_than_the_largest_is_named():
    check(summed("train", lambda facts: {"examples": 11}), "OtherWeight", (0 + 1 + 3 + 4) / 4)
