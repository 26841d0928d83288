"""What every protocol promises, tried on each that is registered.

A protocol joins by its line in `fedtailor.protocols.PROTOCOLS`. It is then run for one round as `protocol: {kind: NAME}` by three clients
with a tiny Llama; settings that it cannot do without are a branch in `phases_of` (tests/protocols/conftest.py). `replays.Phases` records what
its clients say in a round (the phase "train", whatever the messages are called), in an evaluation, and in personalization and training
alone where the job has them; so does each phase that is registered; a protocol with requests of its own after the rounds adds a phase there. Each test then plays these
recordings, with something changed, so that one more protocol costs seconds.
"""

import random
from contextlib import suppress
from dataclasses import replace

import pytest
from misbehaving import all_of, faults
from replays import BAD, Phases, same

from fedtailor.assembly import estimate
from fedtailor.errors import RunError
from fedtailor.federation import LocalFederation
from fedtailor.learning.store import Store
from fedtailor.learning.training import one_by_one
from fedtailor.messages import decode, encode
from fedtailor.network.kit.policy import Policy
from fedtailor.network.kit.reportable import reportable
from fedtailor.network.site.guarded import Guarded
from fedtailor.protection import Gate
from fedtailor.protocols import PROTOCOLS
from fedtailor.records import Message
from fedtailor.running.engine import ranked

A_FEW = 16  # attacks on each protocol, drawn by the seed; test_one_client has all of them behind a marker
ROUNDS = 3
OPEN = ("nothing", "work")  # what facts may reveal without being asked for

UNEVEN = {
    "auto-ranks": "for the largest rank, and the first round has the least",
    "prompting": "a mean over rungs of fewer and fewer prompts",
    "retrieval": "for a client that holds all winners, with passages of the longest length",
}

METHODS = (
    "auto-ranks",
    "black-box",
    "tasks",
)  # of prompting, beside its first, and of averaging: their messages are others; see `phases_of`
AFTER = ("after",)  # averaging with every registered phase after the rounds, and one of a user's own

every_protocol = pytest.mark.parametrize("kind", [*sorted(PROTOCOLS), *METHODS, *AFTER])


@every_protocol
def test_every_message_is_declared_and_nothing_else_is(phases_of, kind):
    phases = phases_of(kind)
    clients = [client for said in phases.said.values() for client in said.values()]
    manifest = phases.parts.manifest
    assert {asked for client in clients for asked in client.answered} == set(manifest.down)
    assert {decode(reply).kind for client in clients for reply in client.replies} == set(manifest.up)
    facts = {(of, name): spec for of, message in manifest.up.items() for name, spec in message.facts.items()}
    assert [place for place, spec in facts.items() if spec.reveals is None] == []
    tensors = {(of, name): spec for of, message in manifest.up.items() for name, spec in message.plain().tensors.items()}
    assert [place for place, spec in tensors.items() if spec.reveals == "nothing"] == []
    assert {spec.revealed for spec in (*facts.values(), *tensors.values())} <= {*OPEN, *reportable()}
    if phases.parts.protocol.settings.in_rounds:
        assert any(message.trains == "round" for message in manifest.down.values())  # else no site bounds its rounds


@every_protocol
def test_estimated_bytes_are_those_sent(phases_of, kind):
    if kind in UNEVEN:
        pytest.skip(f"the estimate is {UNEVEN[kind]}, and one round is recorded")
    phases = phases_of(kind)
    costs = estimate(phases.parts)
    rows = phases.play("train").values["rows"]
    assert len(rows) == len(costs) - 1  # the one that others make misbehave is left out
    for row in rows:
        cost = costs[row["client"]]
        replies = map(decode, phases.said["train"][row["client"]].replies)
        numbers = sum(len(fact) if isinstance(fact, list) else 1 for reply in replies for fact in reply.facts.values())
        assert cost.up_bytes == pytest.approx(row["up_bytes"], rel=0.02, abs=4 * numbers)  # numbers of fewer digits than is usual
        assert cost.down_bytes == pytest.approx(row["down_bytes"], rel=0.02, abs=8)


def served(phases: Phases, *, again: bool):
    """Return the states after each round; if `again`, server and clients begin each from what was saved of them."""
    parts = phases.parts
    kept = {client: replace(own, store=Store(id=client)) for client, own in parts.clients.items()}

    def begun(state):
        halves = {client: parts.half(client, own=own) for client, own in kept.items()}
        engine = LocalFederation(halves, parts.sampler.clients, Gate(manifest=parts.manifest), lambda client, fault: None)
        return parts.protocol.serve(ranked(engine, parts), state, parts.sampler, rounds=ROUNDS, worker=parts.worker)

    state, found = phases.start, []
    rounds = begun(state)
    for _ in range(ROUNDS):
        if again:
            rounds = begun(replace(state, shared=saved(state.shared), method=saved(state.method)))
        done = next(rounds)
        assert not done.failures
        state = done.state
        found.append(state)
    return found


def saved(tensors):
    """Return tensors as a file holds them."""
    return decode(encode(Message(kind="saved", tensors=dict(tensors)))).tensors


@every_protocol
def test_resumed_after_each_round_equals_unbroken(phases_of, kind):
    phases = phases_of(kind)
    unbroken = served(phases, again=False)
    assert same(unbroken, served(phases, again=True))
    first, last = ([state.shared, state.method] for state in (unbroken[0], unbroken[-1]))
    assert not same(first, last)


def raising(fault: Exception):
    def send(number: int):
        raise fault

    return send


@every_protocol
@pytest.mark.parametrize(
    ("fault", "network", "named"),
    [(RuntimeError("out of memory"), False, "failed"), (TimeoutError(), True, "timeout")],
    ids=["fails", "is silent"],
)
def test_a_client_that_does_not_answer_is_dropped_by_name(phases_of, kind, fault, network, named):
    phases = phases_of(kind)
    for name in phases.phases:
        done = phases.play(name, raising(fault), network=network)
        assert {client: failure.kind for client, failure in done.failures.items()} == {BAD: named}, name
        assert same(done.values, phases.without(name, 0).values)


@every_protocol
def test_a_client_that_lies_is_dropped_by_name_and_leaves_no_trace(phases_of, kind):
    phases = phases_of(kind)
    assert faults(phases, random.Random(0).sample(all_of(phases), A_FEW)) == []


@every_protocol
def test_the_order_of_replies_changes_nothing(phases_of, kind):
    phases = phases_of(kind)
    for name in phases.phases:
        assert same(phases.play(name).values, phases.play(name, last_first=True).values), name


class Speaking:
    """A client of recorded bytes, as one that answers in messages."""

    def __init__(self, half):
        self.half = half

    def answer(self, message):
        return decode(one_by_one(self.half.answer(message)))


class AtSite:
    """A client behind the gate of a site; what leaves it is noted."""

    def __init__(self, half, manifest, policy):
        self.gate, self.sent = Guarded(half=Speaking(half), gate=Gate(manifest=manifest), policy=policy, rounds=ROUNDS), []

    def answer(self, message):
        data = self.gate.answer(encode(message))
        self.sent.append(decode(data))
        return data


def specs_in(message):
    """Return the specs of all that a message may have, by name."""
    return {**message.tensors, **message.plain().tensors, **message.facts}


@pytest.mark.parametrize("kind", [*sorted(PROTOCOLS), *METHODS, *AFTER, "split-reuse", "reading", "coded"])
def test_a_site_can_refuse_by_the_settings_whatever_messages_cannot_do_without(phases_of, kind):
    parts = phases_of(kind).parts
    settings = parts.protocol.settings
    own = [word for phase in parts.job.after for word in phase.reports]
    declared = ("examples", *settings.reveals, *settings.reports, *own)
    assert Policy(reports=declared).manifest_refusals(parts.gate_of("site").manifest) == []
    sent = {spec.revealed for message in parts.manifest.up.values() for spec in specs_in(message).values()}
    assert set(settings.reveals) <= sent


@every_protocol
def test_nothing_is_reported_beyond_the_policy(phases_of, kind):
    phases = phases_of(kind)
    manifest = phases.parts.manifest
    specs = [spec for message in manifest.up.values() for spec in specs_in(message).values()]
    needed = {spec.revealed for spec in specs if not spec.optional} - set(OPEN)
    policy = Policy(reports=tuple(needed), min_examples=1)
    for name in phases.phases:
        sites = []

        def around(half, sites=sites):
            sites.append(AtSite(half, manifest, policy))
            return sites[-1]

        with suppress(RunError):  # a protocol may say that it can do nothing with what is left
            assert not phases.play(name, around=around).failures
        sent = [message for site in sites for message in site.sent]
        reported = {specs_in(manifest.up[one.kind])[name].revealed for one in sent for name in (*one.facts, *one.tensors)}
        assert reported <= needed | set(OPEN), name
        assert all(site.sent for site in sites)
