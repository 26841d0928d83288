"""Split learning where something goes wrong: clients that fail, break or send what does not fit."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from jobs import tiny_rows
from split_shapes import federation_of, random_shared, save_family, split_job, split_parts

from fedtailor.learning.training import one_by_one
from fedtailor.protocols.split.client_turn import ClientTurn
from fedtailor.protocols.split.conversations import Conversations
from fedtailor.protocols.split.state import Memory
from fedtailor.records import Message
from fedtailor.running import run

ADAM = {"optimizer": "adamw", "learning_rate": 0.02, "clip_norm": 1.0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("families")
    return {family: save_family(family, home) for family in ("bert", "gpt2")}


def ask(parts, federation, start=None):
    talks = Conversations(terms=parts.protocol.terms, federation=federation, memory=Memory())
    request = Message(kind="train", tensors=start or random_shared(parts), facts={"version": 0, "rate_factor": 1.0})
    return {reply.client: reply for reply in talks.ask(dict.fromkeys(sorted(parts.clients), request))}


def failing(monkeypatch, client, step, how):
    """Let one client's forward pass go wrong at a step."""
    usual = ClientTurn._run

    def run_part(self, now, part, received_BLH=None):
        done = usual(self, now, part, received_BLH)
        if self._client.id != client or now.step != step or received_BLH is not None:
            return done
        if how == "vanishes":
            raise RuntimeError("out of memory")
        return done * float("nan")

    monkeypatch.setattr(ClientTurn, "_run", run_part)


@pytest.mark.parametrize(("how", "kind"), [("vanishes", "failed"), ("nan", "not-finite")])
@pytest.mark.parametrize("server", ["parallel", "sequential"])
def test_a_client_that_fails_in_the_middle_is_dropped_and_the_others_continue(folders, monkeypatch, how, kind, server):
    parts = split_parts(folders["gpt2"], "gpt2", server=server)
    start = random_shared(parts)
    alone = {client: reply.message for client, reply in ask(parts, federation_of(parts), start).items()}
    failing(monkeypatch, "client-01", 1, how)
    faults = []
    replies = ask(parts, federation_of(parts, faults), start)
    assert [client for client, _ in faults] == ["client-01"]
    assert replies["client-01"].message is None
    assert replies["client-01"].error.kind == kind
    assert replies["client-01"].traffic.up_bytes > 0  # what it had sent was sent
    for client in ("client-00", "client-02"):
        assert replies[client].message is not None
        if server == "parallel":
            assert all(torch.equal(value, alone[client].tensors[name]) for name, value in replies[client].message.tensors.items())


def test_what_a_failed_client_taught_the_one_server_part_is_taken_back(folders, monkeypatch):
    parts = split_parts(folders["gpt2"], "gpt2", server="sequential", local=ADAM)
    start, found = random_shared(parts), []
    for step in (0, 1):  # before and after the server has learned from it
        with monkeypatch.context() as patch:
            failing(patch, "client-01", step, "vanishes")
            found.append(ask(parts, federation_of(parts), start)["client-02"].message.tensors)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_run_continues_after_a_failure_and_names_the_client(folders, monkeypatch, tmp_path):
    failing(monkeypatch, "client-01", 1, "vanishes")
    job = split_job(folders["gpt2"], "gpt2", local=ADAM, changes={"stop__rounds": 1})
    result = run(job, data=tiny_rows(), out=tmp_path / "r")
    events = [json.loads(line) for line in (result.folder / "events.jsonl").read_text().splitlines()]
    assert [event["client"] for event in events if event["event"] == "failure"] == ["client-01"]
    assert "out of memory" in (result.folder / "clients" / "client-01" / "log.txt").read_text()
    rounds = pd.read_parquet(result.folder / "rounds.parquet")
    assert rounds["clients"].tolist() == [2]
    assert rounds["server_flops"][0] > 0


class Lying:
    """A client that changes what it sends."""

    def __init__(self, half, change):
        self.half, self.change = half, change

    def answer(self, message):
        reply = one_by_one(self.half.answer(message))
        return self.change(reply) if reply.kind == "split-activations" else reply


def with_facts(**facts):
    return lambda message: replace(message, facts={**message.facts, **facts})


def other_labels(message):
    return replace(message, tensors={**message.tensors, "labels": message.tensors["labels"] + 100})


@pytest.mark.parametrize(
    "change",
    [
        with_facts(lengths=[3, 4]),
        with_facts(lengths=[]),
        with_facts(lengths=[-5, 10]),
        with_facts(step=7),
        other_labels,
        lambda message: Message(kind="split-end", tensors={}, facts={}),
    ],
)
def test_a_client_that_sends_what_does_not_fit_is_dropped(folders, change):
    parts = split_parts(folders["bert"], "bert", labels="with-server")
    federation = federation_of(parts)
    federation._halves["client-01"] = Lying(federation._halves["client-01"], change)
    replies = ask(parts, federation)
    assert replies["client-01"].error.kind == "off-manifest"
    assert replies["client-00"].message is not None
    assert replies["client-02"].message is not None
