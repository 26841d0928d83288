"""A server that does not keep to the protocol: it says different things to different clients, with a client on its side, or puts keys of its own in."""

from dataclasses import replace

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from fedtailor.errors import OffManifest
from fedtailor.protection.secure import identity as identities
from fedtailor.protection.secure import shamir
from fedtailor.protection.secure.identity import SIGNS, Identity, known_key, simulated, vouch
from fedtailor.protection.secure.masks import KeyPair, mask
from fedtailor.protection.secure.member import Member
from fedtailor.protection.secure.messages import AskAgree, AskKeys, AskShares, Deliver, Unmask, fewest

pytestmark = pytest.mark.attack
CLIENTS = [f"c{k}" for k in range(5)]
VICTIM, WITH_SERVER = "c0", "c4"
UPDATE = np.arange(40, dtype=np.uint32)
ALL, WITHOUT = (CLIENTS, []), (CLIENTS[1:], [VICTIM])  # two lists of who answered and who did not


def begun(*, consistency, threshold):
    """Return five members that have shared their secrets, and the masked update of the victim."""
    members = {name: Member(me=name, version=3, identity=simulated(name), consistency=consistency) for name in CLIENTS}
    asked = asked_for(members, threshold)
    shares = {name: member.share(asked) for name, member in members.items()}
    for place, member in enumerate(members.values()):
        member.deliver(Deliver(senders=CLIENTS, sealed=[shares[name].sealed[place] for name in CLIENTS]))
    masked = {name: member.mask(UPDATE) for name, member in members.items()}
    return members, masked[VICTIM]


def asked_for(members, threshold):
    keys = {name: member.keys(AskKeys(version=3)) for name, member in members.items()}
    return AskShares(
        threshold=threshold,
        most_examples=1,
        clients=CLIENTS,
        sealing_keys=[keys[name].sealing_key for name in CLIENTS],
        masking_keys=[keys[name].masking_key for name in CLIENTS],
        signatures=[keys[name].signature for name in CLIENTS],
        proofs=[keys[name].proof for name in CLIENTS],
    )


def unmask(lists, signed=()):
    answered, dropped = lists
    return Unmask(
        answered=answered, dropped=dropped, signers=[name for name, _ in signed], signatures=[text for _, text in signed]
    )


def test_a_server_that_reports_different_drop_outs_reads_an_update_where_clients_do_not_compare():
    members, masked = begun(consistency=False, threshold=3)
    numbers, mine = {name: number for number, name in enumerate(CLIENTS, 1)}, members[WITH_SERVER].held[VICTIM]
    seeds, keys = {numbers[WITH_SERVER]: mine[0]}, {numbers[WITH_SERVER]: mine[1]}
    for name in ("c0", "c1"):
        seeds[numbers[name]] = bytes.fromhex(members[name].unmask(unmask(ALL)).seeds[0])
    for name in ("c2", "c3"):
        keys[numbers[name]] = bytes.fromhex(members[name].unmask(unmask(WITHOUT)).keys[0])
    pair = KeyPair(shamir.combine(keys))
    found = masked - mask(shamir.combine(seeds), len(masked))
    for name in CLIENTS[1:]:  # c0 is the first: it has added each mask that it shares
        found -= mask(pair.agreed(members[name].masking.public, "mask"), len(masked))
    assert np.array_equal(found, UPDATE)


def test_with_the_consistency_round_it_is_given_nothing():
    members, _ = begun(consistency=True, threshold=fewest(5, consistency=True))
    told = {"c0": ALL, "c1": ALL, "c2": WITHOUT, "c3": WITHOUT}
    signed = {}
    for name, (answered, dropped) in told.items():
        signed[name] = members[name].agree(AskAgree(answered=answered, dropped=dropped)).signature
    for lists in (ALL, WITHOUT):  # the one on its side signs whatever it likes
        members[WITH_SERVER].agreed = [list(each) for each in lists]
        own = (WITH_SERVER, members[WITH_SERVER].identity.sign(members[WITH_SERVER]._of_lists()))
        honest = [(name, signed[name]) for name in told if told[name] is lists]
        others = [(name, signed[name]) for name in told if told[name] is not lists]
        for name in (name for name in told if told[name] is lists):
            for given in (
                [],
                [*honest, own],  # three of four
                [*honest, own, honest[0]],
                [*honest, own, others[0]],  # of the other list
                [*honest, own, ("c9", own[1])],
                [*honest, own, (others[0][0], own[1])],  # its friend's, in another's name
            ):
                with pytest.raises(OffManifest, match=r"have signed the lists|not signed by it"):
                    members[name].unmask(unmask(lists, given))
            with pytest.raises(OffManifest, match=r"others than those that this client has signed|and we did"):
                members[name].unmask(unmask(WITHOUT if lists is ALL else ALL, [*others, own]))
    with pytest.raises(OffManifest, match="once"):
        members["c2"].agree(AskAgree(answered=CLIENTS, dropped=[]))


def test_lists_that_all_have_signed_are_opened_and_signatures_of_another_round_are_none():
    def signed(members):
        return [(name, member.agree(AskAgree(answered=CLIENTS, dropped=[])).signature) for name, member in members.items()]

    members, _ = begun(consistency=True, threshold=4)
    earlier, _ = begun(consistency=True, threshold=4)
    old, new = signed(earlier), signed(members)
    with pytest.raises(OffManifest, match="not signed by it"):
        members["c0"].unmask(unmask(ALL, [new[0], *old[1:]]))
    assert len(members["c0"].unmask(unmask(ALL, new[:4])).seeds) == 5


def test_keys_that_a_server_puts_in_are_refused():
    members = {name: Member(me=name, version=3, identity=simulated(name)) for name in CLIENTS}
    asked, own = asked_for(members, 4), KeyPair.fresh().public.hex()
    other = Member(me="c1", version=2, identity=simulated("c1")).keys(AskKeys(version=2))

    def with_second(**fields):
        return replace(
            asked, **{name: [getattr(asked, name)[0], value, *getattr(asked, name)[2:]] for name, value in fields.items()}
        )

    strangers = Identity(private=Ed25519PrivateKey.generate().private_bytes_raw(), proof=simulated("c1").proof, authority=b"")
    for changed in (
        with_second(sealing_keys=own),
        with_second(masking_keys=own),
        with_second(masking_keys=own, signatures=strangers.sign(members["c1"]._of_keys("c1", asked.sealing_keys[1], own))),
        with_second(
            sealing_keys=other.sealing_key, masking_keys=other.masking_key, signatures=other.signature
        ),  # of another round
        with_second(proofs=asked.proofs[2], signatures=asked.signatures[2]),  # another client's
        with_second(proofs="00"),
        with_second(signatures="xyz"),
        replace(asked, signatures=asked.signatures[:4]),
    ):
        with pytest.raises(OffManifest):
            members["c0"].share(changed)
    assert len(members["c0"].share(asked).sealed) == 5


def test_a_certificate_is_of_one_client_for_this_use_by_this_authority():
    authority, signer = identities._authority()
    der, key = authority.public_bytes(Encoding.DER), Ed25519PrivateKey.generate()
    proof = vouch("a", key.public_key(), authority, signer).public_bytes(Encoding.DER).hex()
    assert known_key("a", proof, der) == key.public_key()
    long = "site " * 30
    assert known_key(long, simulated(long).proof, der)
    with pytest.raises(OffManifest, match="another one's"):
        known_key("b", proof, der)
    with pytest.raises(OffManifest, match="vouches"):
        known_key("a", proof, vouch("a", key.public_key(), authority, signer).public_bytes(Encoding.DER))
    with pytest.raises(OffManifest, match="none that signs"):  # such as the certificate of a site's engine
        known_key("clients of one process", der.hex(), der)
    assert (
        SIGNS
        in x509.load_der_x509_certificate(bytes.fromhex(proof)).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    )
