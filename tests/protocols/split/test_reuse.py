"""Activations that never change are sent once: the run is the same, the bytes are fewer, and what cannot be reused is refused."""

import json

import pandas as pd
import pytest
import torch
from jobs import tiny_rows
from safetensors.torch import load_file
from split_shapes import class_rows, federation_of, save_family, split_job, split_parts

from fedtailor.assembly import assemble, estimate
from fedtailor.errors import OffManifest, SettingError
from fedtailor.protocols.rounds.sampling import Sampler
from fedtailor.protocols.split.client import SplitClient
from fedtailor.protocols.split.reuse import Kept, fresh_share, mark_of
from fedtailor.records import ClientInfo
from fedtailor.running import run

BEHIND = {
    "llama": ["layers.2.self_attn.q_proj", "layers.3.self_attn.v_proj"],
    "bert": ["layer.2.attention.self.query", "layer.3.attention.self.value"],
}
LOCAL = {"optimizer": "adamw", "learning_rate": 0.02, "steps": None}
QUIET = ("hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return tiny models without dropout, and one with it under `loud`."""
    home = tmp_path_factory.mktemp("families")
    found = {family: save_family(family, home) for family in BEHIND}
    found["loud"] = save_family("bert", home / "loud")
    for family in BEHIND:
        file = found[family] / "config.json"
        config = json.loads(file.read_text())
        file.write_text(json.dumps({name: 0.0 if name in QUIET else value for name, value in config.items()}))
    return found


def rows_of(family):
    return class_rows() if family == "bert" else tiny_rows()


def job_of(folders, family, *, rounds=2, **protocol):
    tuning = {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.1, "targets": BEHIND[family]}
    local = {**LOCAL, **protocol.pop("local", {})}
    return split_job(folders[family], family, local=local, changes={"tuning": tuning, "stop__rounds": rounds}, **protocol)


def result_of(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def gap(left, right):
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


@pytest.mark.parametrize(
    ("family", "labels", "server"),
    [("llama", "u-shaped", "parallel"), ("llama", "with-server", "sequential"), ("bert", "with-server", "parallel")],
)
def test_a_run_with_reuse_is_the_run_without(folders, family, labels, server, tmp_path):
    job = job_of(folders, family, labels=labels, server=server)
    plain = run(job, data=rows_of(family), out=tmp_path / "plain")
    reused = run(job.replace("protocol.reuse", True), data=rows_of(family), out=tmp_path / "reused")
    moved = max(float(value.abs().max()) for value in result_of(plain.folder).values())
    assert moved > 0.02
    assert gap(result_of(plain.folder), result_of(reused.folder)) < 2e-6
    up = [pd.read_parquet(r.folder / "rounds.parquet")["up_bytes"].tolist() for r in (plain, reused)]
    assert up[1][0] > 0.95 * up[0][0]  # the first round sends all
    assert max(up[1][1:]) < 0.7 * min(up[0][1:])  # u-shaped the loss's gradients still come
    assert labels == "u-shaped" or max(up[1][1:]) < 0.35 * min(up[0][1:])


def test_with_one_example_a_batch_the_bits_are_the_same(folders, tmp_path):
    job = job_of(folders, "llama", local={"batch_size": 1})
    plain = run(job, data=tiny_rows(), out=tmp_path / "plain")
    reused = run(job.replace("protocol.reuse", True), data=tiny_rows(), out=tmp_path / "reused")
    assert gap(result_of(plain.folder), result_of(reused.folder)) == 0.0


def test_what_is_spared_stands_in_the_ledger(folders, tmp_path):
    job = job_of(folders, "bert", labels="with-server", reuse=True)
    found = pd.read_parquet(run(job, data=class_rows(), out=tmp_path / "r").folder / "clients.parquet").set_index(
        ["round", "client"]
    )
    parts = assemble(job, given=class_rows())
    for client, own in parts.clients.items():
        first, later = found.loc[(1, client)], found.loc[(2, client)]
        tokens, examples = int(own.train.sizes_N.sum()), len(own.train)
        assert [first["reused_tokens"], later["reused_tokens"]] == [0, tokens]
        # float32 of width 16 a token, and a label of 4 bytes an example
        assert later["reused_bytes"] == pytest.approx(tokens * 64 + 4 * examples, abs=examples)
        assert first["up_bytes"] - later["up_bytes"] == pytest.approx(later["reused_bytes"], rel=0.1)
        assert later["train_flops"] == 0 < first["train_flops"]  # nothing is left to compute at the client
    rounds = pd.read_parquet(tmp_path / "r" / "rounds.parquet")["reused_bytes"].tolist()
    assert rounds == [0, sum(found.loc[2]["reused_bytes"])]


@pytest.mark.parametrize(
    "protocol", [{"labels": "with-server", "wire": {"kind": "int8"}}, {"local": {"epochs": 2.0}}, {"local": {"steps": 2}}]
)
def test_the_forecast_counts_what_is_spared(folders, protocol, tmp_path):
    job = job_of(folders, "bert", reuse=True, **protocol)
    costs = estimate(assemble(job, given=class_rows()))
    found = (
        pd.read_parquet(run(job, data=class_rows(), out=tmp_path / "r").folder / "clients.parquet")
        .groupby("client")
        .mean(numeric_only=True)
    )
    if protocol.get("local", {}).get("steps"):  # which examples come again is a matter of chance: over all clients it is near
        assert sum(cost.up_bytes for cost in costs.values()) == pytest.approx(found["up_bytes"].sum(), rel=0.1)
        return
    for client, cost in costs.items():
        assert cost.up_bytes == pytest.approx(found.loc[client, "up_bytes"], rel=0.02)
        assert cost.down_bytes == pytest.approx(found.loc[client, "down_bytes"], rel=0.02)
        assert cost.train_flops == pytest.approx(found.loc[client, "train_flops"], rel=0.02)


def test_a_resumed_run_gives_the_same_weights_and_sends_again(folders, tmp_path):
    job = job_of(folders, "llama", reuse=True, wire={"kind": "int8"}, local={"steps": 2})
    whole = run(job, data=tiny_rows(), out=tmp_path / "whole")
    run(job.replace("stop.rounds", 1), data=tiny_rows(), out=tmp_path / "parts")
    run(job, data=tiny_rows(), resume=tmp_path / "parts")
    assert gap(result_of(whole.folder), result_of(tmp_path / "parts")) == 0.0
    sent = [pd.read_parquet(folder / "rounds.parquet")["up_bytes"].sum() for folder in (whole.folder, tmp_path / "parts")]
    assert sent[0] < sent[1]


@pytest.mark.parametrize("who", ["client", "server"])
def test_whoever_loses_its_memory_gets_it_again(folders, who, monkeypatch):
    parts = assemble(job_of(folders, "bert", reuse=True, labels="with-server"), given=class_rows())
    federation = federation_of(parts)
    rounds = parts.protocol.serve(federation, parts.protocol.start(parts.worker), parts.sampler, rounds=3)
    first = next(rounds)
    lost = federation._halves["client-01"]
    if who == "client":
        lost.sent.clear()
    else:  # another server, with the state of the first one
        rounds = parts.protocol.serve(federation, first.state, parts.sampler, rounds=3)
    second = {row["client"]: row for row in next(rounds).clients}
    assert not any("error" in row for row in second.values())
    assert second["client-01"]["reused_tokens"] == 0
    assert (second["client-00"]["reused_tokens"] > 0) == (who == "client")
    assert isinstance(lost, SplitClient)


def test_a_client_that_points_at_what_it_never_sent_is_dropped(folders):
    parts = assemble(job_of(folders, "bert", reuse=True), given=class_rows())
    federation = federation_of(parts)
    half = federation._halves["client-01"]
    usual = half.answer

    def lying(message):
        half.sent.update(range(len(parts.clients["client-01"].train)) if message.kind == "split-begin" else ())
        return usual(message)

    half.answer = lying
    one = Sampler(clients=[ClientInfo(id=c, examples=len(s.train)) for c, s in parts.clients.items()], per_round=3)
    done = next(parts.protocol.serve(federation, parts.protocol.start(parts.worker), one, rounds=1))
    assert len(done.clients) == 3  # a mark that does not fit made it forget the lie
    half.sent.update(range(5))
    kept = Kept(examples=5)
    for rows, lengths in (([0], [0]), ([5], [2]), ([1, 1], [2, 2]), ([1], [2, 3]), ([-1], [2]), ([], [])):
        with pytest.raises(OffManifest):
            kept.check(rows, lengths)


def test_kept_examples_come_back_in_any_order():
    kept = Kept(examples=9)
    table = torch.arange(12.0).reshape(6, 2)
    kept.add([7, 3, 4], [2, 1, 3], table, {"targets": torch.tensor([-1, 5, -1, 6, 7, -1])}, 60)
    lengths, values, labels = kept.batch([4, 7])
    assert lengths == [3, 2]
    assert values[:, 0].tolist() == [6, 8, 10, 0, 2]
    assert labels["targets"].tolist() == [6, 7, -1, -1, 5]
    assert [kept.known[row].size_bytes for row in (7, 3, 4)] == [20, 10, 30]
    kept.add([1, 2], [1, 1], table[:2], {"labels": torch.tensor([4, 5])}, 20)
    assert kept.batch([2, 1])[2]["labels"].tolist() == [5, 4]
    assert mark_of([3, 1]) == mark_of({1, 3}) != mark_of([1, 13])


def test_the_share_that_is_new():
    assert fresh_share(examples=100, seen=100, rounds=4) == 0.25  # all in the first round
    assert fresh_share(examples=100, seen=200, rounds=4) == 0.125
    assert fresh_share(examples=100, seen=50, rounds=2) == 0.75  # 50 new, then 25
    assert fresh_share(examples=100, seen=50, rounds=1) == 1.0


def test_what_changes_cannot_be_reused(folders):
    with pytest.raises(
        SettingError, match=r"trained before the cut.*tuning: lora has 8 of them there.*blocks from 2 on in tuning\.targets"
    ):
        split_parts(folders["bert"], "bert", reuse=True)
    tuning = {"tuning": {"kind": "lora", "rank": 2, "targets": BEHIND["bert"]}}
    with pytest.raises(SettingError, match=r"dropout before the cut.*hidden_dropout_prob: 0\.1"):
        split_parts(folders["loud"], "bert", reuse=True, changes=tuning)
    parts = split_parts(folders["bert"], "bert", reuse=True, changes=tuning)
    assert "keeps the activations of every example" in parts.protocol.notice
    assert {"rows", "lengths"} <= parts.manifest.up["split-activations"].facts.keys()
    plain = split_parts(folders["bert"], "bert", changes=tuning)
    assert "rows" not in plain.manifest.up["split-activations"].facts
    assert "reuse" not in plain.protocol.notice
