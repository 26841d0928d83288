"""Clients that send hostile updates on purpose: what they send, who they are, and what a rule makes of it."""

import pandas as pd
import pytest
import torch
from jobs import assert_same_adapter

from fedtailor.errors import SettingError
from fedtailor.federation import Hostile, hostile_clients
from fedtailor.learning.training import one_by_one
from fedtailor.messages import MessageSpec, TensorSpec
from fedtailor.records import Message
from fedtailor.running import run

UPDATE = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([[-4.0]])}  # of length 5
OTHER = {"says": torch.tensor([7.0])}  # what is no update
CHANGE = {name: TensorSpec(dtype="float32", shape=tuple(value.shape), reveals="update") for name, value in UPDATE.items()}
SAYS = {"says": TensorSpec(dtype="float32", shape=(1,), reveals="logits")}
ANSWERS = {"train": MessageSpec(tensors=CHANGE | SAYS), "run": MessageSpec(tensors=CHANGE | SAYS), "evaluate": MessageSpec()}


class Trains:
    """Answers with an update, as work that is still to be carried out."""

    def answer(self, message):
        return self._work(message)

    def _work(self, message):
        yield from ()
        return reply_to(message)


class AtOnce:
    """Answers without any work."""

    def answer(self, message):
        return reply_to(message)


def reply_to(message):
    return Message(kind=message.kind, tensors={} if message.kind == "evaluate" else UPDATE | OTHER)


def sent(sends, *, kind="train", version=0, inner=Trains):
    half = Hostile(inner=inner(), client="north", answers=ANSWERS, sends=sends, seed=0)
    return one_by_one(half.answer(Message(kind=kind, facts={"version": version}))).tensors


def test_what_hostile_clients_send():
    assert torch.equal(sent("negative")["b"], torch.tensor([[4.0]]))
    assert torch.equal(sent("scaled")["a"], torch.tensor([-30.0, 0.0]))
    assert torch.equal(sent("scaled")["says"], OTHER["says"])
    assert sent("scaled", kind="evaluate") == {}
    noise, again, later = sent("noise"), sent("noise"), sent("noise", version=1)
    assert sum(noise[name].square().sum().item() for name in UPDATE) == pytest.approx(25.0)
    assert torch.equal(noise["a"], again["a"])
    assert not torch.equal(noise["a"], later["a"])


@pytest.mark.parametrize("inner", [Trains, AtOnce])
def test_an_update_is_hostile_whatever_the_kind_of_its_message(inner):
    found = sent("negative", kind="run", inner=inner)
    assert {name: value.tolist() for name, value in found.items()} == {"a": [-3.0, -0.0], "b": [[4.0]], "says": [7.0]}


def test_the_share_of_hostile_clients_is_drawn_by_the_seed():
    clients = [f"client-{n}" for n in range(10)]
    assert [len(hostile_clients(clients, share, 0)) for share in (0.0, 0.2, 0.5)] == [0, 2, 5]
    assert hostile_clients(clients, 0.5, 0) == hostile_clients(clients[::-1], 0.5, 0) != hostile_clients(clients, 0.5, 1)


def test_a_mean_follows_them_and_multi_krum_does_not(make_job, rows, tmp_path):
    def job(rule, **changes):
        return make_job(clients={"count": 5, "min_examples": 4, **changes}, protocol__aggregation=rule, stop__rounds=3)

    hostile = {"hostile_share": 0.2, "hostile": "scaled"}
    losses = {}
    for rule in ("fedavg", "multi-krum"):
        settings = {"kind": rule, **({"hostile": 1} if rule == "multi-krum" else {})}
        done = run(job(settings, **hostile), data=rows, out=tmp_path / rule)
        losses[rule] = done.summary["metrics"]["after"]["loss"]
    assert losses["multi-krum"] < losses["fedavg"]
    table = pd.read_parquet(tmp_path / "fedavg" / "clients.parquet")
    assert table.groupby("client")["update_norm"].min().max() > 5 * table["update_norm"].median()
    again = run(job("fedavg", **hostile), data=rows, out=tmp_path / "again")
    assert_same_adapter(tmp_path / "fedavg", again.folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clients__hostile_share": 1.0}, r"hostile_share is a share of all clients, in \[0, 1\)"),
        ({"clients__hostile": "labels"}, "negative, scaled or noise|'negative', 'scaled' or 'noise'"),
        (
            {"clients__hostile_share": 0.5, "protocol": {"kind": "split", "cut": 1}},
            "clients.hostile_share: 0.5 does not go with protocol: split.*choose protocol: averaging",
        ),
    ],
)
def test_what_means_nothing_is_refused(make_job, changes, words):
    with pytest.raises(SettingError, match=words):
        make_job(**changes)
