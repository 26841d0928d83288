"""Who makes gates, and what protections do at them."""

import ast
from pathlib import Path

import pandas as pd
import pytest
import torch
from jobs import adapter, assert_same_adapter
from shields import NoNumbers, Times

import fedtailor
from fedtailor.assembly import assemble
from fedtailor.errors import NotFinite, SettingError
from fedtailor.messages import FactSpec, Manifest, MessageSpec, TensorSpec, decode, encode
from fedtailor.protection import gate, make_gate
from fedtailor.records import Message
from fedtailor.running import run
from fedtailor.studies.baselines import baseline_job

TENSORS = {
    "w": TensorSpec(dtype="float32", shape=(2,), reveals="update"),
    "public": TensorSpec(dtype="float32", shape=(2,)),
}
MANIFEST = Manifest(up={"train": MessageSpec(tensors=TENSORS, facts={"n": FactSpec(type="int", purpose="count")})}, down={})
MESSAGE = Message(kind="train", tensors={"w": torch.tensor([1.0, -3.0]), "public": torch.ones(2)}, facts={"n": 2})


def test_every_gate_is_made_in_one_place():
    calls = [
        f"{file.name}:{node.lineno}"
        for file in Path(fedtailor.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Gate"
    ]
    assert [call.partition(":")[0] for call in calls] == ["gate.py"]


def test_protections_are_applied_in_order_and_taken_off_backwards():
    class Plus:
        def leave(self, message, crossing):
            return self._by(1, message)

        def arrive(self, message, crossing):
            return self._by(-1, message)

        def _by(self, number, message):
            return Message(
                kind=message.kind, tensors={**message.tensors, "w": message.tensors["w"] + number}, facts=message.facts
            )

    guarded = make_gate(MANIFEST, [Plus(), Times(factor=8.0)], client="north")
    sent = guarded.leave_client(MESSAGE)
    assert decode(sent).tensors["w"].tolist() == [16.0, -16.0]  # (1 + 1) * 8, (-3 + 1) * 8
    assert decode(sent).tensors["public"].tolist() == [1.0, 1.0]
    assert make_gate(MANIFEST, [Plus(), Times(factor=8.0)]).enter_server(sent).tensors["w"].tolist() == [1.0, -3.0]


def test_a_protection_knows_whose_message_it_is_and_what_was_asked():
    seen = []

    class Looks:
        def leave(self, message, crossing):
            seen.append((crossing.client, crossing.asked))
            return message

        def arrive(self, message, crossing):
            seen.append((crossing.client, crossing.asked))
            return message

    asked = Message(kind="train")
    server = make_gate(MANIFEST, [Looks()])
    server.enter_server(server.at("north").leave_client(MESSAGE, asked))
    assert seen == [("north", asked), ("", None)]


def test_what_is_not_finite_does_not_leave_though_a_protection_would_make_numbers_of_it():
    bad = Message(kind="train", tensors={**MESSAGE.tensors, "w": torch.tensor([1.0, float("nan")])}, facts={"n": 2})
    with pytest.raises(NotFinite, match="'w'"):
        make_gate(MANIFEST, [NoNumbers()]).leave_client(bad)


def test_without_protections_what_leaves_is_the_message_and_no_more(make_job, rows, tmp_path, monkeypatch):
    said = []
    leave = gate.Gate.leave_client

    def recorded(self, message, asked=None):
        said.append((message, leave(self, message, asked)))
        return said[-1][1]

    monkeypatch.setattr(gate.Gate, "leave_client", recorded)
    run(make_job(stop__rounds=1, protection=[]), data=rows, out=tmp_path / "r")
    assert {message.kind for message, _ in said} == {"train", "evaluate"}
    assert all(sent == encode(message) for message, sent in said)


def test_a_class_of_the_users_own_protects_a_whole_run(make_job, rows, tmp_path):
    """A factor that is a power of two takes nothing from float32: the same weights come of it, by other messages."""
    run(make_job(stop__rounds=2), data=rows, out=tmp_path / "plain")
    own = [{"kind": "shields:Times", "factor": 4.0}, "shields:Without"]
    run(make_job(stop__rounds=2, protection=own), data=rows, out=tmp_path / "own")
    assert_same_adapter(tmp_path / "plain", tmp_path / "own")
    assert adapter(tmp_path / "own")
    columns = [set(pd.read_parquet(tmp_path / name / "clients.parquet").columns) for name in ("plain", "own")]
    assert columns[0] - columns[1] == {"first_loss"}
    assert "first_loss" not in (tmp_path / "own" / "manifest.json").read_text()


def test_a_protection_on_sums_stands_between_the_updates_and_the_rule(make_job, rows, tmp_path):
    """All updates halved before the rule gets their mean: the same as a server's learning rate of a half."""
    rule = {"kind": "fedavgm", "momentum": 0.0}
    run(make_job(stop__rounds=1, protection="shields:Halved", protocol__aggregation=rule), data=rows, out=tmp_path / "own")
    rule["server_learning_rate"] = 0.5
    run(make_job(stop__rounds=1, protocol__aggregation=rule), data=rows, out=tmp_path / "half")
    halves, own = adapter(tmp_path / "half"), adapter(tmp_path / "own")
    assert all(torch.allclose(halves[name], own[name], atol=1e-7) for name in halves)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"protocol__aggregation": {"kind": "flexlora"}},
            "protection: Halved does not go with protocol.aggregation: flexlora, which needs more",
        ),
        (
            {"protocol": {"kind": "split", "cut": 1}},
            "protection: Halved does not go with protocol: split: it is of sums of updates",
        ),
    ],
)
def test_what_is_no_sum_of_updates_is_refused_by_name(make_job, rows, changes, words):
    with pytest.raises(SettingError, match=words):
        assemble(make_job(protection=["shields:Halved"], **changes), given=rows)


def test_a_protection_around_the_federation_sees_every_request(make_job, rows, tmp_path):
    import shields

    shields.SEEN.clear()
    run(make_job(stop__rounds=1, protection=["shields:Watched"]), data=rows, out=tmp_path / "r")
    assert shields.SEEN == ["evaluate"] * 4 + ["train"] * 4 + ["evaluate"] * 8  # before, after round 1, and with texts at the end


def test_baselines_have_no_protection(make_job):
    assert baseline_job(make_job(protection=["shields:Halved"]), "central").protection == ()
