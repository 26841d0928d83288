"""Phases of a run with recorded replies: what clients say is computed once, and then one of them says something else."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from fedtailor.assembly import Parts
from fedtailor.federation import LocalFederation
from fedtailor.federation.nvflare.engine import NetFederation
from fedtailor.federation.nvflare.packing import pack, unpack
from fedtailor.learning.over_clients import pool
from fedtailor.learning.training import one_by_one
from fedtailor.messages import decode, write
from fedtailor.messages.record import facts_of
from fedtailor.protection import Gate
from fedtailor.protocols import alone
from fedtailor.protocols.evaluation import ask_evaluation, evaluation_request
from fedtailor.protocols.personal import KIND, Personalized, ask_personal, personal_request
from fedtailor.records import ClientFailure, ClientId, Message, ServerState
from fedtailor.running.ending import End
from fedtailor.running.engine import ranked
from fedtailor.running.progress import Progress

BAD = "client-01"
Send = Callable[[int], Any]  # what the bad client sends as its n-th message; None: the honest one


@dataclass(frozen=True)
class PassesAll(Gate):
    """A gate at a client that lets out whatever it is given: bytes as they are."""

    def leave_client(self, message: Any, asked: Any = None) -> Any:
        return message if isinstance(message, bytes) else super().leave_client(message, asked)


class LastFirst(LocalFederation):
    """Clients in this process, of which the one that was asked last answers first."""

    def next_reply(self, timeout_s: float | None = None) -> Any:
        self._waiting.rotate(1)
        return super().next_reply(timeout_s)


@dataclass
class Recorded:
    """A client that says again what it said."""

    replies: list[bytes]
    send: Send = lambda number: None
    number: int = 0

    def answer(self, message: Any) -> bytes:
        sent = self.send(self.number)
        self.number += 1
        return self.replies[self.number - 1] if sent is None else sent


@dataclass
class Recording:
    """A client whose replies are noted as they leave it."""

    half: Any
    gate: Gate
    replies: list[bytes] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)  # kinds of the requests

    def answer(self, message: Any) -> bytes:
        data = self.gate.leave_client(one_by_one(self.half.answer(message)))
        assert isinstance(data, bytes)
        self.replies.append(data)
        self.answered.append(message.kind)
        return data


@dataclass
class Live:
    """A client that computes its answers again, where what it is asked depends on what others say."""

    half: Any
    gate: Gate

    def answer(self, message: Any) -> bytes:
        asked = message if isinstance(message, Message) else decode(unpack(message))
        data = self.gate.leave_client(one_by_one(self.half.answer(asked)))
        assert isinstance(data, bytes)
        return data


class RecordedLine:
    """The same clients behind a network, through its packing."""

    def __init__(self, halves: Mapping[ClientId, Any]) -> None:
        self.halves = halves

    def answer(self, client: ClientId, ticket: str, packed: Any, timeout_s: float) -> dict[str, Any]:
        unpack(packed)
        said: Any = self.halves[client].answer(packed)
        return {**pack_raw(said), "seconds": 0.1} if isinstance(said, bytes) else said  # an envelope of its own making

    def alive(self, client: ClientId, timeout_s: float) -> bool:
        return True

    def forget(self, client: ClientId, ticket: str) -> None:
        pass

    def stopped(self) -> bool:
        return False


def pack_raw(data: bytes) -> dict[str, Any]:
    """Return bytes as a site packs them; one that misbehaves packs whatever it likes as a blob."""
    try:
        return pack(data)
    except Exception:
        return {"blob": data}


@dataclass(frozen=True)
class Outcome:
    """What a phase comes to, without times and without the bad client."""

    values: Mapping[str, Any]  # that must be the same to the bit
    failures: Mapping[ClientId, ClientFailure]


Phase = Callable[[Any], Outcome]


@dataclass
class Phases:
    """The phases of one protocol on assembled parts, each from the state that the honest run had there.

    `live`: what a client is asked depends on what others say, so all but the one that misbehaves compute.
    """

    parts: Parts
    live: bool = False
    start: ServerState = field(init=False)
    phases: dict[str, Phase] = field(default_factory=dict)
    said: dict[str, dict[ClientId, Recording]] = field(default_factory=dict)
    silent: dict[tuple[str, int], Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts, generate = self.parts, True
        self.start = start = parts.protocol.start(parts.worker)
        self.phases["train"] = lambda federation: train(parts, federation, start)
        state = self._record("train", keep=True)
        clients = [info.id for info in parts.sampler.clients]
        apart = parts.protocol.own_models
        asked = evaluation_request(
            {} if apart else state.shared,
            name="round-1",
            generate=generate,
            own_version=1 if apart else None,
            clients=len(clients),
        )
        if parts.protocol.evaluates:
            self.phases["evaluate"] = lambda federation: figures(
                ask_evaluation(federation, dict.fromkeys(clients, asked), lambda client: None)
            )
        if KIND in parts.manifest.down:
            request = personal_request(state.shared, version=1, generate=generate, clients=len(clients))
            self.phases[KIND] = lambda federation: personal(
                ask_personal(federation, clients, request, Personalized, lambda client: None)
            )
        if alone.KIND in parts.manifest.down:
            lone = alone.alone_request(start.shared, rates=[1.0], keep_best=True)
            self.phases[alone.KIND] = lambda federation: personal(
                ask_personal(federation, clients, lone, alone.TrainedAlone, lambda client: None)
            )
        if (last := parts.protocol.last) is not None:
            once_more = write(last.request(state, generate=generate))
            self.phases[last.form.kind] = lambda federation: personal(
                ask_personal(federation, clients, once_more, last.form, lambda client: None)
            )
        for phase in parts.job.after:
            self.phases[phase.section] = partial(after, parts, phase, state)
        for name in self.phases:
            if name not in self.said:
                self._record(name)

    def _record(self, name: str, *, keep: bool = False) -> Any:
        """Play a phase with clients that compute, and note what they say."""
        halves = {
            client: Recording(
                self.parts.behind(client, self.parts.half(client)),
                PassesAll(**vars(self.parts.gate_of(client))),
            )
            for client in self.parts.clients
        }
        outcome = self.phases[name](ranked(self._local(halves), self.parts))
        assert outcome.failures == {}, outcome.failures
        self.said[name] = halves
        return outcome.values["state"] if keep else None

    def play(
        self,
        name: str,
        send: Send = lambda number: None,
        *,
        network: bool = False,
        last_first: bool = False,
        around: Callable[[Any], Any] = lambda half: half,
    ) -> Outcome:
        """Play a phase with recorded replies, but for what the bad client sends.

        Args:
            last_first: whether the client that was asked last answers first.
            around: makes of a client what answers in its place.
        """
        before = {} if name == "train" else self.said["evaluate"]  # counts are those of the first evaluation
        first = len(before[BAD].replies) if before else 0
        halves: dict[ClientId, Any] = {
            client: Live(each.half, each.gate)
            if self.live and client != BAD
            else Recorded([*(before[client].replies if before else ()), *each.replies])
            for client, each in self.said[name].items()
        }
        halves[BAD].send = lambda number: None if number < first else send(number - first)
        gate = self.parts.gate_of()
        clients = {client: around(half) for client, half in halves.items()}
        local = self._local(clients, LastFirst if last_first else LocalFederation)
        engine = NetFederation(RecordedLine(halves), self.parts.sampler.clients, gate) if network else local
        federation = ranked(engine, self.parts)
        try:
            if before:
                self.phases["evaluate"](federation)
            return self.phases[name](federation)
        finally:
            if isinstance(engine, NetFederation):
                engine.close()

    def without(self, name: str, number: int) -> Outcome:
        """Return what a phase comes to if the bad client fails in place of its n-th message."""
        if (name, number) not in self.silent:

            def send(now: int) -> bytes | None:
                if now == number:
                    raise RuntimeError("no answer")
                return None

            self.silent[name, number] = self.play(name, send)
        return self.silent[name, number]

    def _local(self, halves: Mapping[ClientId, Any], kind: type[LocalFederation] = LocalFederation) -> LocalFederation:
        gate = PassesAll(**vars(self.parts.gate_of()))
        return kind(halves, self.parts.sampler.clients, gate, lambda client, fault: None)


def train(parts: Parts, federation: Any, start: ServerState) -> Outcome:
    rounds = parts.protocol.serve(federation, start, parts.sampler, rounds=1, worker=parts.worker)
    round = next(rounds)
    rounds.close()
    rows = [{k: v for k, v in row.items() if "seconds" not in k} for row in round.clients if row["client"] != BAD]
    figures = {name: value for name, value in round.figures.items() if "seconds" not in name}
    return Outcome({"state": without_notes(round.state), "rows": rows, "figures": figures}, dict(round.failures))


def without_notes(state: ServerState) -> ServerState:
    """Return a state without what retrieval notes of clients, which names the reason for which each was left out."""
    if "tally" not in state.method:
        return state
    kept = json.loads(bytes(state.method["tally"].tolist()))
    kept["tally"]["notes"] = {}
    for answer in kept["answers"]:
        answer.pop("notes", None)
    return replace(state, method={**state.method, "tally": json.dumps(kept)})


def after(parts: Parts, phase: Any, state: ServerState, federation: Any) -> Outcome:
    failures: dict[ClientId, ClientFailure] = {}

    class Noted(End):
        def note_failure(self, client: ClientId, failure: ClientFailure, what: str) -> None:
            failures[client] = failure

    nothing: Any = None
    end = Noted(
        parts=parts,
        federation=federation,
        progress=Progress(state=state),
        shared=state.shared,
        after=nothing,
        round=1,
        folder=nothing,
        notify=lambda kind, **facts: None,
    )
    found = phase.carry_out(end)
    return Outcome({client: dict(of) for client, of in found.items() if client != BAD}, failures)


def figures(found: Any) -> Outcome:
    own = {"validation": found.validation, "test": found.test}
    values = {part: {client: each for client, each in of.items() if client != BAD} for part, of in own.items()}
    return Outcome(values | {"pooled": {part: pool(of.values()) for part, of in own.items()}}, found.failures)


def personal(found: Any) -> Outcome:
    work = {client: facts_of(each, but=["seconds"]) for client, each in found.work.items() if client != BAD}
    values = {"work": work, **{f"pooled {part}": pool(of.values()) for part, of in found.parts.items()}}
    return Outcome(values | {part: dict(of) for part, of in found.parts.items()}, found.failures)


def same(one: Any, other: Any) -> bool:
    """Return whether two outcomes are the same, tensors to the bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, ServerState):
        return same(vars(one), vars(other))
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other)))
