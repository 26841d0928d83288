"""Clients that train LoRA of different ranks, through whole runs."""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tuning_shapes import LABELS, logits
from unequal import LOW, LOWER, job_of

from fedtailor.assembly import assemble, estimate
from fedtailor.export import open_run
from fedtailor.learning.store import Store
from fedtailor.learning.training import one_by_one
from fedtailor.running import run

RULES = ("flexlora", "raflora", "flora")
every_rule = pytest.mark.parametrize("rule", RULES)
SHAPES = ("tiny_backbone_folder", "tiny_gpt2_folder", "tiny_bert_folder")


def weights(folder):
    files = [*folder.glob("**/adapter/adapter_model.safetensors"), *folder.glob("clients/*/state-*.safetensors")]
    return {f"{file.relative_to(folder)}:{name}": t for file in sorted(files) for name, t in load_file(file).items()}


def adapter_of(folder, client):
    place = folder / "clients" / client / "adapter"
    config = json.loads((place / "adapter_config.json").read_text())
    return config["r"], config["lora_alpha"], load_file(place / "adapter_model.safetensors")


class Killed(BaseException):
    """Goes through every handler of faults, as a kill does."""


@pytest.mark.few(2)
@every_rule
@pytest.mark.parametrize("kind", ["none", "finetune"])
def test_resumed_equals_unbroken_and_training_helps(rule, kind, make_job, rows, tmp_path, *, monkeypatch):
    job = job_of(make_job, rule, stop__rounds=3, personalization={"kind": kind}, protocol__local__keep_optimizer=True)
    summary = run(job, data=rows, out=tmp_path / "whole").summary
    keep, calls = Store.keep, []

    def killed(self, *args):
        keep(self, *args)
        calls.append(1)
        if len(calls) == 6:  # the second client of round 2
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Store, "keep", killed)
        with pytest.raises(Killed):
            run(job, data=rows, out=tmp_path / "cut")
    run(job, data=rows, resume=tmp_path / "cut")
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    left, right = (pd.read_parquet(tmp_path / side / "evaluations.parquet") for side in ("whole", "cut"))
    pd.testing.assert_frame_equal(left, right)
    assert summary["metrics"]["after"]["loss"] < summary["metrics"]["before"]["loss"]


@every_rule
def test_every_message_has_the_shapes_of_its_client(rule, make_job, rows, tmp_path, *, monkeypatch):
    from fedtailor.protocols.averaging.client import AveragingClient

    seen = []
    answer = AveragingClient.answer

    def noting(self, message):
        reply = one_by_one(answer(self, message))
        seen.append((self.client.id, message, reply))
        return reply

    monkeypatch.setattr(AveragingClient, "answer", noting)
    run(job_of(make_job, rule, stop__rounds=2, personalization={"kind": "finetune"}), data=rows, out=tmp_path / "r")
    assert {message.kind for _, message, _ in seen} == {"train", "evaluate", "personalize"}
    wanted = {"client-00": (4, 1.0), LOW: (1, 4.0), "client-02": (4, 1.0), LOWER: (2, 3.0)}
    for client, message, reply in seen:
        rank, scale = wanted[client]
        factors = [(name, t) for one in (message, reply) for name, t in one.tensors.items() if ".lora_" in name]
        assert factors
        assert {t.shape[0 if "lora_A" in name else 1] for name, t in factors} == {rank}
        if message.kind == "train":
            assert set(reply.facts["scale"]) == {scale}
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert manifest["sizes"] == {"rank": 4}
    table = pd.read_parquet(tmp_path / "r" / "clients.parquet").groupby("client")["up_bytes"].max()
    assert table[LOW] < table[LOWER] < table["client-00"]
    assert pd.read_parquet(tmp_path / "r" / "clients.parquet")["drift"].notna().all()


def test_what_a_client_has_counts_as_much_as_the_part_it_was_cut_from(make_job, rows):
    # W + s B[:, :r_k] A[:r_k]: the same logits from the server's model with the other columns zero
    parts = assemble(job_of(make_job), given=rows)
    draw = torch.Generator().manual_seed(0)
    shared = {name: torch.randn(t.shape, generator=draw) * 0.3 for name, t in parts.worker.tensors().items()}
    for client, own in parts.ranks.items():
        parts.clients[client].worker.load(own.cut(shared))
        got = logits(parts.worker.model)
        zeroed = {name: t * (torch.arange(4) < own.rank) if "lora_B" in name else t for name, t in shared.items()}
        parts.worker.load(zeroed)
        torch.testing.assert_close(got, logits(parts.worker.model), atol=1e-5, rtol=1e-5)
        parts.worker.load(shared)
        assert not torch.allclose(got, logits(parts.worker.model), atol=1e-4)


@every_rule
def test_a_round_is_the_dense_formula(rule, make_job, rows, tmp_path, *, monkeypatch):
    """dW* = sum p s_k B_k A_k of what the clients truly trained, each in its own scale, is what the server makes its factors of."""
    from fedtailor.protocols.averaging.client import AveragingClient

    trained, answer = {}, AveragingClient.answer

    def noting(self, message):
        reply = one_by_one(answer(self, message))
        if message.kind == "train":
            after = {name: message.tensors[name] + delta for name, delta in reply.tensors.items()}
            trained[self.client.id] = (after, reply.facts["scale"][0], reply.facts["examples"])
        return reply

    monkeypatch.setattr(AveragingClient, "answer", noting)
    overrides = {LOW: {"tuning": {"rank": 1}}, LOWER: {"tuning": {"rank": 2, "alpha": 6}}}
    job = job_of(make_job, rule, stop__rounds=1, stop__keep="last", clients__overrides=overrides)
    run(job, data=rows, out=tmp_path / "r")
    shared = load_file(tmp_path / "r" / "checkpoint" / "000001" / "shared.safetensors")
    total = sum(examples for *_, examples in trained.values())
    assert {scale for _, scale, _ in trained.values()} == {1.0, 4.0, 3.0}
    for name in [name for name in shared if name.endswith("lora_B.weight")]:
        a_name = name.replace("lora_B", "lora_A")
        want = torch.zeros(shared[name].shape[0], shared[a_name].shape[1]).double()
        for after, scale, examples in trained.values():
            b, a = after[name].double(), after[a_name].double()
            for column in range(b.shape[1]):
                owners = sum(n for other, _, n in trained.values() if other[name].shape[1] > column)
                share = examples / (owners if rule == "raflora" else total)
                want += share * scale * torch.outer(b[:, column], a[column])
        if rule == "flora":
            got = shared[name.replace("lora_", "carried_")].double() @ shared[a_name.replace("lora_", "carried_")].double()
        else:
            u, s, vt = torch.linalg.svd(want)
            want = u[:, :4] * s[:4] @ vt[:4]
            got = shared[name].double() @ shared[a_name].double()  # alpha / rank is 1
        assert torch.linalg.norm(got - want) <= 1e-5 * torch.linalg.norm(want)
        assert torch.linalg.norm(want) > 1e-3


@pytest.mark.few(2)
@every_rule
@pytest.mark.parametrize("shape", SHAPES)
def test_a_client_keeps_an_adapter_of_its_own_rank_that_peft_loads(rule, shape, make_job, rows, tmp_path, *, request):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    folder, bert = request.getfixturevalue(shape), "bert" in shape
    job = job_of(make_job, rule, stop__rounds=2, stop__keep="last").replace("backbone", str(folder))
    job = job.replace("personalization", {"kind": "finetune", "steps": 2, "keep": "last"})
    if bert:
        job = job.replace("task", {"kind": "classification", "labels": list(LABELS)})
        rows = [{"text": row["input"], "label": LABELS[i % 3]} for i, row in enumerate(rows)]
    run(job, data=rows, out=tmp_path / "r")
    for client, rank, alpha in (("client-00", 4, 4), (LOW, 1, 4), (LOWER, 2, 6)):
        found, scale, tensors = adapter_of(tmp_path / "r", client)
        assert {t.shape[0] for name, t in tensors.items() if "lora_A" in name} == {found}
        if rule != "flora":
            assert (found, scale) == (rank, alpha)
        else:
            assert scale == found > rank
    auto, more = (AutoModelForSequenceClassification, {"num_labels": 3}) if bert else (AutoModelForCausalLM, {})
    model = PeftModel.from_pretrained(auto.from_pretrained(folder, **more), tmp_path / "r" / "clients" / LOW / "adapter").eval()
    table = pd.read_parquet(tmp_path / "r" / "evaluations.parquet")
    assert not torch.equal(logits(model), logits(open_run(tmp_path / "r").model))
    assert table[(table["scope"] == "personal") & (table["metric"] == "loss")]["client"].nunique() == 4


def test_what_a_client_was_measured_with_is_what_it_keeps(make_job, rows, tmp_path):
    """The loss that a client told of its personal weights is that of its saved adapter, loaded by PEFT onto a fresh backbone."""
    from peft import PeftModel

    job = job_of(make_job, stop__rounds=2, personalization={"kind": "finetune", "steps": 2, "keep": "last"})
    run(job, data=rows, out=tmp_path / "r")
    table = pd.read_parquet(tmp_path / "r" / "evaluations.parquet")
    for client in (LOW, LOWER):
        told = table[(table["scope"] == "personal") & (table["metric"] == "loss") & (table["client"] == client)]["value"].item()
        bare = assemble(make_job(tuning={"kind": "full"}), given=rows)
        model = PeftModel.from_pretrained(bare.worker.model, tmp_path / "r" / "clients" / client / "adapter").eval()
        bare.worker.model = model
        assert bare.worker.evaluate(bare.clients[client].test, generate=False).figures["loss"] == pytest.approx(told, rel=1e-5)


def test_overrides_that_change_nothing_leave_the_bits(make_job, rows, tmp_path):
    same = {LOW: {"tuning": {"rank": 4}}, LOWER: {"tuning": {}}}
    for name, overrides in (("without", {}), ("with", same)):
        run(job_of(make_job, "flexlora", clients__overrides=overrides, stop__rounds=2), data=rows, out=tmp_path / name)
    left, right = weights(tmp_path / "without"), weights(tmp_path / "with")
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_the_cost_of_a_client_is_that_of_its_rank(make_job, rows):
    parts = assemble(job_of(make_job), given=rows)
    costs = estimate(parts)
    sizes = {client: parts.clients.sizes_of(client) for client in parts.clients}
    # query and value of two layers: A [r, 16] four times, B [16, r] and [8, r] twice each: 112 r
    assert {client: each.trained for client, each in sizes.items()} == {"client-00": 448, LOW: 112, "client-02": 448, LOWER: 224}
    assert costs[LOW].up_bytes < costs[LOWER].up_bytes < costs["client-00"].up_bytes
    assert costs[LOW].memory_bytes < costs["client-00"].memory_bytes
    flops = {client: cost.train_flops / parts.clients[client].train.sizes_N.sum() for client, cost in costs.items()}
    assert flops[LOW] < flops[LOWER] < flops["client-00"]


@every_rule
def test_a_run_may_start_from_an_adapter(rule, make_job, rows, tmp_path):
    """The first `before` is that of the adapter: what clients of a lower rank start from is cut from it."""
    first = run(
        job_of(make_job, "flexlora", stop__rounds=2, stop__keep="last", clients__overrides={}), data=rows, out=tmp_path / "first"
    )
    tuning = {"kind": "lora", "rank": 4, "alpha": 4, "initial": str(tmp_path / "first" / "adapter")}
    job = job_of(make_job, rule, tuning=tuning, stop__rounds=1, stop__keep="last")
    parts = assemble(job, given=rows)
    saved = load_file(tmp_path / "first" / "adapter" / "adapter_model.safetensors")
    assert all(torch.equal(parts.worker.tensors()[name], value) for name, value in saved.items())
    summary = run(job, data=rows, out=tmp_path / "second").summary
    # FLoRA takes the adapter's own product along in what is carried
    assert summary["metrics"]["after"]["loss"] < first.summary["metrics"]["before"]["loss"]


def test_weights_that_stay_home_are_of_the_clients_rank(make_job, rows, tmp_path):
    home = {"kind": "fedper", "home": ["*.layers.1.*"]}
    run(job_of(make_job, stop__rounds=2, personalization=home), data=rows, out=tmp_path / "r")
    for client, rank in (("client-00", 4), (LOW, 1), (LOWER, 2)):
        kept = load_file(tmp_path / "r" / "clients" / client / "state-000002.safetensors")
        own = {name: t for name, t in kept.items() if name.startswith("own/")}
        assert {t.shape[0] for name, t in own.items() if "lora_A" in name} == {rank}
        assert adapter_of(tmp_path / "r", client)[0] == rank


@pytest.mark.parametrize("kind", ["central", "local"])
def test_baselines_run_with_overrides(kind, make_job, rows, tmp_path):
    from fedtailor.studies.baselines import run_baseline

    summary = run_baseline(job_of(make_job, stop__rounds=2), kind, data=rows, out=tmp_path / kind).summary
    assert summary["metrics"]["after"]["loss"] < summary["metrics"]["before"]["loss"]
