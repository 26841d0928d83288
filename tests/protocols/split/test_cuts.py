"""Cuts that differ among clients and change from round to round: what is learned is the same, wherever the model is cut."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from jobs import tiny_rows
from safetensors.torch import load_file
from split_shapes import class_rows, federation_of, random_shared, save_family, split_job, split_parts

from fedtailor.assembly import assemble, estimate
from fedtailor.errors import OffManifest, SettingError
from fedtailor.learning.training import one_by_one
from fedtailor.messages import state_of, tensors_of
from fedtailor.protocols.split import conversations
from fedtailor.protocols.split.client import SplitClient
from fedtailor.protocols.split.cuts import Past, decide, reported_means
from fedtailor.protocols.split.messages import End
from fedtailor.protocols.split.planning import Means
from fedtailor.protocols.split.state import Memory
from fedtailor.records import ClientInfo, Message, Traffic
from fedtailor.running import run

ADAM = {"optimizer": "adamw", "learning_rate": 0.02, "clip_norm": None, "steps": 2}
MOMENTUM = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.3, "clip_norm": None, "steps": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("families")
    return {family: save_family(family, home) for family in ("gpt2", "bert")}


def overrides(**cuts):
    return {"clients__overrides": {client.replace("_", "-"): {"protocol": {"cut": cut}} for client, cut in cuts.items()}}


def weights_after(parts, rounds):
    """Return the shared weights after so many rounds, from random ones, and the rows of the last round."""
    start = replace(parts.protocol.start(parts.worker), shared=random_shared(parts))
    served = parts.protocol.serve(federation_of(parts), start, parts.sampler, rounds=rounds)
    done = [next(served) for _ in range(rounds)][-1]
    assert not any("error" in row for row in done.clients), done.clients
    return done.state.shared, done


def gap(left, right):
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


@pytest.mark.parametrize(("family", "labels"), [("gpt2", "u-shaped"), ("bert", "with-server")])
def test_clients_cut_in_different_places_learn_what_they_learn_in_one(folders, family, labels):
    settings = {"labels": labels, "local": ADAM}
    alike = split_parts(folders[family], family, **settings)
    apart = split_parts(folders[family], family, **settings, changes=overrides(client_00=1, client_02=3))
    one, _ = weights_after(alike, 2)
    other, done = weights_after(apart, 2)
    assert gap(one, other) < 1e-6
    assert gap(one, random_shared(alike)) > 0.01
    assert [row["cut"] for row in done.clients] == [1, 2, 3]
    flops = [row["train_flops"] / row["tokens"] for row in done.clients]
    assert flops[0] < flops[1] < flops[2]
    assert [cost.train_flops for cost in estimate(apart).values()][1] == [cost.train_flops for cost in estimate(alike).values()][
        1
    ]


@pytest.mark.parametrize(("family", "labels", "local"), [("bert", "u-shaped", ADAM), ("gpt2", "with-server", MOMENTUM)])
def test_a_cut_that_changes_takes_the_optimizers_moments_along(folders, family, labels, local, monkeypatch):
    kept = {**local, "keep_optimizer": True}
    fixed, _ = weights_after(split_parts(folders[family], family, labels=labels, local=kept), 4)
    again, _ = weights_after(split_parts(folders[family], family, labels=labels, local=local), 4)
    assert gap(fixed, again) > 1e-3  # moments matter
    places = {"client-00": [1, 3, 2, 2], "client-01": [3, 1, 3, 1], "client-02": [2, 2, 1, 3]}
    seen = {client: iter(cuts) for client, cuts in places.items()}
    monkeypatch.setattr(conversations, "decide", lambda terms, info, past, *, together: next(seen[info.id]))
    changing, done = weights_after(split_parts(folders[family], family, cut="auto", labels=labels, local=kept), 4)
    assert [row["cut"] for row in done.clients] == [2, 1, 3]
    assert gap(fixed, changing) < 1e-6
    assert any(name.startswith("moments/client-02/") for name in done.state.method)


def test_what_a_code_lost_at_another_cut_is_forgotten(folders, monkeypatch):
    lost = []
    usual = conversations.ServerTurn

    def noting(*given, lost_H, **named):
        lost.append(lost_H)
        return usual(*given, lost_H=lost_H, **named)

    monkeypatch.setattr(conversations, "ServerTurn", noting)
    cuts = iter([1, 1, 1, 1, 2, 1])
    monkeypatch.setattr(conversations, "decide", lambda terms, info, past, *, together: next(cuts))
    weights_after(split_parts(folders["bert"], "bert", cut="auto", wire={"kind": "int8"}, local=ADAM), 2)
    assert [each is None for each in lost] == [True, True, True, False, True, False]


def means(**changes):
    return Means(**{"client_flops": 1e9, "server_flops": 1e9, "bandwidth": 1e9, "memory_bytes": 1e12} | changes)


def test_a_client_is_cut_where_its_last_round_says(folders):
    terms = split_parts(folders["bert"], "bert", cut="auto", labels="with-server", least_cut=2).protocol.terms
    info = ClientInfo(id="client-00", examples=10)

    def cut_after(present, **changes):
        past = Past(cut=present, means=means(**changes), tokens_per_example=600.0)
        return decide(terms, info, past, together=1)

    assert terms.choices == (2, 3, 4)
    assert decide(terms, info, Past(), together=1) == 3  # nothing is known: the middle
    assert cut_after(3, client_flops=1e5) == 2  # slow client: no lower than least_cut
    assert cut_after(3, server_flops=1e5) == 4
    assert cut_after(3, bandwidth=1e3) == 3  # the link counts alone: no reason to move
    assert cut_after(4, server_flops=1e5, memory_bytes=1.0) == 2  # it fits nowhere: the least
    fixed = split_parts(folders["bert"], "bert", cut="auto", changes=overrides(client_00=1)).protocol.terms
    assert decide(fixed, info, Past(means=means(server_flops=1.0)), together=1) == 1


def test_what_a_round_reports_of_a_client(folders):
    terms = split_parts(folders["bert"], "bert", cut="auto", local={"steps": None, "epochs": 2.0}).protocol.terms
    end = End(version=0, examples=10, targets=40, tokens=120, steps=6, seconds=2.0, free_bytes=1000)
    past = reported_means(terms, end, Traffic(up_bytes=600, down_bytes=200, seconds=4.0), server_seconds=0.5, past=Past(cut=2))
    from fedtailor.protocols.split.cost import client_flops, client_memory_bytes, server_flops

    assert past.means.client_flops == client_flops(terms.layout, 120) / 2
    assert past.means.server_flops == server_flops(terms.layout, 120) * 2
    assert past.means.bandwidth == 200
    assert past.means.memory_bytes == 1000 + client_memory_bytes(terms)
    assert past.tokens_per_example == 6.0
    past = replace(past, lost_H=torch.ones(2), moments={"exp_avg/a.b": torch.zeros(1)})
    memory = past.put(past.put(Memory(), "a"), "ab")
    names = ["cut/a", "cut/ab", "lost/a", "lost/ab", "means/a", "means/ab", "moments/a/exp_avg/a.b", "moments/ab/exp_avg/a.b"]
    assert sorted(tensors_of(memory)) == names  # as run folders have them
    again = Past.read(state_of(Memory, tensors_of(memory)), "a")
    assert (again.means, again.cut, again.tokens_per_example, list(again.moments)) == (past.means, 2, 6.0, ["exp_avg/a.b"])
    assert sorted(tensors_of(Past().put(memory, "a"))) == names[1::2]


def test_a_run_that_chooses_its_cuts_reports_them_and_continues_after_a_stop(folders, tmp_path):
    job = split_job(folders["gpt2"], "gpt2", cut="auto", local={**ADAM, "keep_optimizer": True})
    fixed = run(job.replace("protocol.cut", 2), data=tiny_rows(), out=tmp_path / "fixed")
    run(job.replace("stop.rounds", 2), data=tiny_rows(), out=tmp_path / "auto")
    result = run(job, data=tiny_rows(), resume=tmp_path / "auto")
    rows = pd.read_parquet(result.folder / "clients.parquet")
    assert rows["round"].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert rows["cut"].between(1, 3).all()
    left, right = (load_file(r.folder / "adapter" / "adapter_model.safetensors") for r in (fixed, result))
    assert gap(left, right) < 1e-5  # adamw: what rounds otherwise in small gradients shows
    told = (result.folder / "manifest.json").read_text()
    assert "free_bytes" in told
    assert "moments/exp_avg_sq/" in told
    assert "the server chooses how deep the cut is" in (result.folder / "events.jsonl").read_text()


def test_a_client_refuses_a_cut_that_the_job_does_not_allow(folders):
    parts = split_parts(folders["bert"], "bert", changes=overrides(client_00=3))
    parts.protocol.terms.check_allowed("client-00", 3)
    parts.protocol.terms.check_allowed("client-01", 2)
    half = parts.protocol.client(parts.clients["client-00"])
    assert isinstance(half, SplitClient)
    begin = Message(kind="split-begin", tensors={}, facts={"version": 0, "rate_factor": 1.0, "cut": 2})
    with pytest.raises(OffManifest, match="asks client-00 to hold 2 blocks; the job allows 3"):
        one_by_one(half.answer(begin))
    begin = replace(begin, facts={**begin.facts, "cut": 3})
    with pytest.raises(OffManifest, match="weights of the first 3 blocks were due"):  # else those in the model would be trained
        one_by_one(half.answer(begin))
    with pytest.raises(OffManifest, match="the job allows 2, 3"):
        split_parts(folders["bert"], "bert", cut="auto", least_cut=2).protocol.terms.check_allowed("client-00", 1)


def test_a_client_that_sends_another_part_than_its_own_is_dropped(folders):
    parts = split_parts(folders["bert"], "bert", changes=overrides(client_00=3), local=ADAM)
    federation = federation_of(parts)
    half = federation._halves["client-01"]
    usual = half.answer

    def lying(message):
        reply = one_by_one(usual(message))
        if reply.kind != "split-end":
            return reply
        wide = {name: value for name, value in parts.worker.tensors().items() if name in parts.manifest.up["split-end"].tensors}
        return replace(reply, tensors=wide)

    half.answer = lying
    done = next(parts.protocol.serve(federation, parts.protocol.start(parts.worker), parts.sampler, rounds=1))
    assert [client for client, _ in done.failures] == ["client-01"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"changes": overrides(client_09=1)}, "clients.overrides names 'client-09', and there is no such client"),
        ({"changes": overrides(client_01=4)}, "clients.overrides.client-01: protocol.cut is 4, but this backbone has 4 blocks"),
        ({"changes": overrides(client_01=1), "server": "sequential"}, "does not go with server: sequential"),
        ({"cut": "auto", "server": "sequential"}, "cut: auto does not go with server: sequential"),
        ({"cut": "auto", "reuse": True}, "reuse does not go with cut: auto"),
        ({"least_cut": 2}, "least_cut is 2, and holds with cut: auto alone"),
        ({"cut": "auto", "least_cut": 0}, "least_cut is the fewest blocks that a client may hold, at least 1; got 0"),
        ({"cut": "auto", "least_cut": 4}, "protocol.least_cut is 4, but this backbone has 4 blocks"),
        ({"local": {"keep_optimizer": True}, "server": "sequential"}, "local.keep_optimizer is True, which server: sequential"),
        (
            {"cut": "auto", "changes": {"personalization": {"kind": "fedper", "home": ["*.layer.3.*"]}}},
            "weights home that lie in the server's part",
        ),
    ],
)
def test_cuts_that_make_no_sense_are_refused(folders, settings, words):
    with pytest.raises(SettingError) as told:
        split_parts(folders["bert"], "bert", **settings)
    assert words in str(told.value)


def test_only_split_has_a_cut_to_override(folders):
    job = split_job(folders["bert"], "bert", changes=overrides(client_00=1))
    averaging = job.replace("protocol", {"kind": "averaging"})
    with pytest.raises(SettingError, match="protocol: averaging cuts no model"):
        assemble(averaging, given=class_rows())


def test_home_weights_bound_the_choice(folders):
    home = {"personalization": {"kind": "fedper", "home": ["*.layer.1.*"]}}
    assert split_parts(folders["bert"], "bert", cut="auto", changes=home).protocol.terms.choices == (2, 3)
