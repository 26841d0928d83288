"""Distillation: whole tiny runs."""

import io
import json

import pandas as pd
import pytest
from distilling import LEARN, assert_same_run, class_data, class_job, weights

from fedtailor.assembly import assemble, estimate
from fedtailor.errors import ResumeError, TooFewClients
from fedtailor.protection import gate
from fedtailor.protocols.distillation.cost import last_length
from fedtailor.running import run


@pytest.fixture
def make(tiny_bert_folder):
    """Return a maker of jobs: make(p_wire="int8", stop__rounds=1)."""
    return lambda **changes: class_job(tiny_bert_folder, **changes)


@pytest.fixture(scope="module")
def plain(tiny_bert_folder, tmp_path_factory):
    """Return a run of two rounds and every message of it, as (direction, client or all, message)."""
    said = []
    leave_client, leave_server = gate.Gate.leave_client, gate.Gate.leave_server
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate.Gate, "leave_client", lambda self, m, asked=None: said.append(("up", m)) or leave_client(self, m))
        patch.setattr(gate.Gate, "leave_server", lambda self, m: said.append(("down", m)) or leave_server(self, m))
        result = run(class_job(tiny_bert_folder), data=class_data(), out=tmp_path_factory.mktemp("plain") / "r")
    return result, said


def test_server_and_clients_end_with_models_of_their_own(plain):
    result, _ = plain
    models = [weights(result.folder), *(weights(result.folder / "clients" / f"client-0{n}") for n in range(3))]
    name = next(name for name in models[0] if "lora_B" in name)
    assert len({model[name].numpy().tobytes() for model in models}) == 4
    told = result.summary["distillation"]
    assert sorted(told["clients"]) == ["client-00", "client-01", "client-02"]
    assert told["public_set"]["examples"] == told["public_set"]["labelled"] == 30
    assert 0 <= told["public_set"]["told_apart"]["mean"] <= 1
    assert told["public"]["pooled"]["examples"] == 3 * 15
    assert result.summary["kept"] == "last"
    assert list(result.history["agreement"].between(0, 1)) == [True, True]
    scopes = set(pd.read_parquet(result.folder / "evaluations.parquet")["scope"])
    assert scopes == {"test", "client", "client-validation", "aligned", "aligned-validation", "aligned-public"}


def test_the_manifest_lists_what_is_sent_and_nothing_else(plain):
    result, said = plain
    manifest = json.loads((result.folder / "manifest.json").read_text())
    for direction in ("up", "down"):
        tensors, facts = {}, {}
        for way, message in said:
            if way == direction:
                tensors.setdefault(message.kind, set()).update(message.tensors)
                facts.setdefault(message.kind, set()).update(message.facts)
        for kind, spec in manifest[direction].items():
            assert tensors[kind] == set(spec["tensors"])
            optional = {name for name, fact in spec["facts"].items() if fact["optional"]}
            assert set(spec["facts"]) - optional <= facts[kind] <= set(spec["facts"])
    assert manifest["up"]["train"]["tensors"] == {
        "logits/values": {"dtype": "float16", "shape": ["places", 3], "most": 1e6, "optional": False, "reveals": "logits"}
    }
    assert manifest["sizes"] == {"places": 30}


def test_no_label_no_text_and_no_weight_leaves_a_client(plain):
    result, said = plain
    for direction, message in said:
        assert {tuple(tensor.shape) for tensor in message.tensors.values()} <= {(30, 3)}  # no weight, up or down
        texts = [value for value in message.facts.values() if isinstance(value, str | list)]
        assert direction == "down" or texts == []  # numbers alone come up
    first = next(message for direction, message in said if direction == "down" and message.kind == "train")
    assert first.tensors == {}  # before round 1 the server has nothing to tell
    assert result.summary["traffic"]["by_kind"]["train"]["down_bytes"] < result.summary["traffic"]["by_kind"]["train"]["up_bytes"]


def test_what_is_estimated_is_what_was_sent(plain, make, tmp_path):
    result, _ = plain
    parts = assemble(make(), given=class_data())
    cost = next(iter(estimate(parts).values()))
    clients = pd.read_parquet(result.folder / "clients.parquet")
    assert cost.up_bytes == pytest.approx(
        clients["up_bytes"].mean(), abs=32
    )  # digits of numbers; align_loss from the second round on
    assert cost.down_bytes == pytest.approx(clients["down_bytes"].mean(), abs=4)  # no logits come down in the first round
    logits = 30 * 3 * 2
    first, later = (clients[clients["round"] == index]["down_bytes"].mean() for index in (1, 2))
    assert first < 100 < logits < later
    last = result.summary["traffic"]["by_kind"]["align"]["down_bytes"]
    assert 3 * last_length(parts.protocol.terms, parts.worker.tensors(), rounds=2) == last
    rounds = 2 * sum(each.train_flops for each in estimate(parts).values())
    assert result.summary["flops"]["client_total"] == pytest.approx(rounds, rel=0.01)  # the fit and the last alignment among them


def test_a_run_that_was_stopped_continues_to_the_same_bits(make, tmp_path):
    changes = {"p_slice": 0.5, "p_wire": "int8", "clients__fraction": 0.67}
    changes["p_local"] = LEARN | {"keep_optimizer": True, "schedule": "linear", "schedule_rounds": 5}
    run(make(stop__rounds=4, **changes), data=class_data(), out=tmp_path / "whole")
    for rounds in (1, 2, 4):
        where = {"out": tmp_path / "parts"} if rounds == 1 else {"resume": tmp_path / "parts"}
        run(make(stop__rounds=rounds, **changes), data=class_data(), **where)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_that_was_killed_within_a_round_continues_to_the_same_bits(plain, make, tmp_path, monkeypatch):
    from fedtailor.protocols.distillation import client as distillation_client
    from fedtailor.protocols.distillation import server as distillation_server

    for module, name, moment in ((distillation_client, "say", 5), (distillation_server, "say", 2)):
        calls, usual = [], getattr(module, name)

        def killed(*args, calls=calls, usual=usual, moment=moment):
            calls.append(1)
            if len(calls) == moment:  # clients before this one have kept their state of the round
                raise KeyboardInterrupt
            return usual(*args)

        folder = tmp_path / f"at-{moment}"
        with monkeypatch.context() as patch:
            patch.setattr(module, name, killed)
            with pytest.raises(KeyboardInterrupt):
                run(make(), data=class_data(), out=folder)
        assert [p.name for p in sorted((folder / "checkpoint").glob("0*"))] == ["000000", "000001"]
        run(make(), data=class_data(), resume=folder)
        assert_same_run(plain[0].folder, folder)


def test_another_public_set_is_refused_on_resume(make, tmp_path):
    def public(text):
        (tmp_path / "public.jsonl").write_text("".join(json.dumps({"text": f"{text} {n}"}) + "\n" for n in range(9)))

    public("a card")
    job = {"p_public": "public.jsonl", "base": str(tmp_path), "stop__rounds": 1}
    result = run(make(**job), data=class_data(), out=tmp_path / "r")
    assert result.summary["distillation"]["public_set"]["labelled"] == 0  # no labels, so by KL alone
    public("a rate")
    with pytest.raises(ResumeError, match="another data"):
        run(make(**job | {"stop__rounds": 2}), data=class_data(), resume=tmp_path / "r")


def test_a_model_that_breaks_is_left_out_and_named(make, tmp_path, monkeypatch):
    from fedtailor.protocols.distillation import client as distillation_client

    usual = distillation_client.say

    def broken(worker, shard, encode):
        calls.append(1)
        return usual(worker, shard, (lambda logits: encode(logits * float("nan"))) if len(calls) % 3 == 2 else encode)

    for wire in ("float16", "int8"):
        calls = []
        monkeypatch.setattr(distillation_client, "say", broken)
        result = run(make(p_wire=wire, stop__rounds=1, p_public_fit=False), data=class_data(), out=tmp_path / wire)
        clients = pd.read_parquet(result.folder / "clients.parquet").set_index("client")
        assert clients["error"].dropna().to_dict() == {"client-01": "not-finite: NotFinite"}
    calls = [1]
    with pytest.raises(
        TooFewClients, match=r"2 of 3 clients sent usable logits, the quorum is 100%.*client-00: what it sent is not finite"
    ):
        run(make(stop__rounds=1, p_quorum=1.0), data=class_data(), out=tmp_path / "all")


def test_baselines_train_without_a_public_set(make, tmp_path):
    from fedtailor.studies.baselines import run_baseline

    summary = run_baseline(make(stop__rounds=1), "central", data=class_data(), out=tmp_path / "r").summary
    assert "distillation" not in summary
    assert summary["baseline"] == "central"


def test_show_and_check_speak_of_the_public_set(plain, make):
    from rich.console import Console

    from fedtailor.cli.check import plan_of, rendered
    from fedtailor.report.read import read_run
    from fedtailor.report.run.tables import show

    console = Console(width=160, record=True, file=io.StringIO())
    console.print(show(read_run(plain[0].folder)))
    job = make()
    for part in rendered(plan_of(job, assemble(job, given=class_data()), [])):
        console.print(part)
    text = console.export_text()
    assert "own models: accuracy" in text
    assert "distinguished" in text
    assert "30 examples, 30 with labels; 3 logits at 30 positions a round, float16" in text


def test_counts_of_many_examples_have_more_digits(make):
    parts = assemble(make(p_label_counts=True), given=class_data())
    few, many = (
        parts.protocol.cost(parts.clients.alike.sizes, examples=count, tokens_per_example=5).up_bytes for count in (27, 30)
    )
    assert many - few == 3  # 9 or 10 of each of three labels
