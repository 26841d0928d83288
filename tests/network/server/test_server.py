"""Both ends of a job, with a process for each site's model, over a line that needs no network."""

import json
import subprocess
import threading
from dataclasses import replace

import pandas as pd
import pytest
from nets import ALL, PROTOCOLS, SITES, at_server, net_job, same_adapter, write_site
from of_tasks import COLUMNS, INTENT, intents

from fedtailor.federation import auto_ranks
from fedtailor.network.kit.policy import Policy
from fedtailor.network.site import model_keeper
from fedtailor.running import run

OWN = {"averaging": {"personalization": {"kind": "ditto"}}}  # clients then keep weights from round to round


def kinds(done):
    return [kind for kind, _ in done.events]


@pytest.mark.few(2)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_job_ends_with_the_adapter_of_a_local_run_bit_for_bit(net, protocol):
    job = net_job(net, PROTOCOLS[protocol], stop__rounds=2, **OWN.get(protocol, {}))
    local = run(job, out=net.folder / "local")
    done = net.run(job)
    assert (done.ended, done.text) == ("done", "")
    assert same_adapter(local.folder, done.folder)
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["metrics"] == local.summary["metrics"]
    assert summary["clients"]["count"] == 2
    assert json.loads((done.folder / "network.json").read_text())["sites"]["site-2"]["examples"] > 0
    assert not list(done.folder.rglob("*.jsonl")) or {p.name for p in done.folder.rglob("*.jsonl")} == {"events.jsonl"}
    told = " ".join(path.read_text(errors="replace") for path in done.folder.rglob("*") if path.suffix in {".json", ".jsonl"})
    assert "serves" not in told  # a word of every example


def test_a_killed_model_is_one_failed_reply_and_a_fresh_process(net):
    job = net_job(net, PROTOCOLS["averaging"], stop__rounds=2, evaluation={"every": 2, "generate": {"max_new_tokens": 2}})
    seen = []

    def kill_at_the_second(client, ticket):
        seen.append(client)
        if seen.count("site-1") == 2 and client == "site-1":
            net.line.kill_model("site-1")

    net.line.before = kill_at_the_second
    done = net.run(job)
    assert done.ended == "done"
    failures = [facts for kind, facts in done.events if kind == "failure"]
    assert [(facts["client"], facts["text"]) for facts in failures] == [("site-1", "failed (ModelProcessDied)")]
    assert kinds(done).count("round") == 2
    clients = json.loads((done.folder / "summary.json").read_text())["clients"]
    assert clients["failed"] == []  # the fresh process took part in what came after


def test_a_fresh_process_keeps_what_the_site_has_kept_in_this_run(net):
    job = net_job(net, PROTOCOLS["averaging"], stop__rounds=3, **OWN["averaging"])
    seen = []

    def kill_at_the_third(client, ticket):  # before the first round it is asked to evaluate, then to train twice
        seen.append(client)
        if client == "site-1" and seen.count("site-1") == 4:
            net.line.kill_model("site-1")

    net.line.before = kill_at_the_third
    done = net.run(job)
    assert done.ended == "done"
    failed = [facts["round"] for kind, facts in done.events if kind == "failure"]
    kept = sorted(path.stem for path in net.kits["site-1"].rglob("state-*.safetensors"))
    assert kept == [f"state-{version:06d}" for version in (1, 2, 3) if version not in failed]


def test_a_model_that_dies_while_it_is_loaded_is_loaded_once_more(net, monkeypatch):
    commands, popen = [], subprocess.Popen  # the command itself, not a fork

    def die_first(command, **how):
        commands.append(command)
        return popen([*command[:1], "-c", "pass"] if len(commands) == 1 else command, **how)

    monkeypatch.setattr(model_keeper.subprocess, "Popen", die_first)
    assert net.run(net_job(net, PROTOCOLS["averaging"], stop__rounds=1)).ended == "done"
    assert len(commands) == 3  # of two sites


def test_a_site_that_is_lost_while_the_job_is_opened_is_reported_as_such(net, monkeypatch):
    gone = threading.Event()
    monkeypatch.setattr(net.line, "open", lambda client, told, timeout_s: gone.wait(60) if client == "site-2" else {"info": {}})
    monkeypatch.setattr(net.line, "alive", lambda client, timeout_s: client != "site-2")
    done = at_server(net_job(net, PROTOCOLS["averaging"], stop__rounds=1), net.line, net.folder, patience={"beat_s": 0.01})
    gone.set()
    assert (done.ended, done.text) == ("again", "site-2 was lost while the job was opened")


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (Policy(protocols=("split",)), "protocol averaging is not permitted here; permitted: split"),
        (Policy(rounds=1), "the job asks for 2 rounds, permitted are 1"),
        (Policy(reports=("figures",)), "the job needs reports of examples"),
    ],
    ids=["protocol", "rounds", "reports"],
)
def test_what_a_policy_forbids_is_refused_with_the_reason_at_both_ends(net, policy, text):
    write_site(net.kits["site-2"], net.folder / "site-2.jsonl", net.backbone, policy)
    done = net.run(net_job(net, PROTOCOLS["averaging"], stop__rounds=2))
    assert done.ended == "mend"
    assert f"site-2 refuses: {text}" in done.text
    assert text in (net.kits["site-2"] / "site.log").read_text()
    assert "round" not in kinds(done)
    assert not done.folder.exists()  # nothing was trained, and nothing written


@pytest.mark.parametrize("run", ["../local", "..", "", "a/b", ".x"])
def test_a_run_is_no_way_to_other_folders_of_the_server(net, run):
    (net.folder / "server" / "local").mkdir(parents=True)
    (net.folder / "server" / "local" / "key.pem").write_text("a key")
    done = at_server(net_job(net, PROTOCOLS["averaging"]), net.line, net.folder, run=run)
    assert (done.ended, done.text) == ("mend", f"{run!r} is no name of a run: letters, digits, - _ and . alone")
    assert not [path for path in done.folder.parent.rglob("*") if path.name == "key.pem"]


def test_another_backbone_is_refused_and_both_are_named(net, tiny_gpt2_folder):
    write_site(net.kits["site-1"], net.folder / "site-1.jsonl", net.backbone)
    file = net.kits["site-1"] / "local" / "fedtailor.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps(told | {"backbones": {net.backbone.name: str(tiny_gpt2_folder)}}))
    done = net.run(net_job(net, PROTOCOLS["averaging"], stop__rounds=2))
    assert done.ended == "mend"
    assert "site-1 refuses: the weights of backbone 'tiny-llama' have SHA-256" in done.text
    assert "at this site and" in done.text
    assert str(tiny_gpt2_folder) not in done.text


@pytest.mark.parametrize(
    ("settings", "ended", "words"),
    [
        (
            {"backbones": {"other": "/home/smith/x"}},
            "mend",
            "site-1 refuses: this site has no backbone 'tiny-llama'; fedtailor net push",
        ),
        ({"data": ["/home/smith/nowhere.jsonl"]}, "failed", "site-1: refused"),
    ],
    ids=["backbone", "data"],
)
def test_a_missing_backbone_or_data_reveals_no_path(net, settings, ended, words):
    write_site(net.kits["site-1"], net.folder / "site-1.jsonl", net.backbone)
    file = net.kits["site-1"] / "local" / "fedtailor.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    done = net.run(net_job(net, PROTOCOLS["averaging"], stop__rounds=1))
    assert done.ended == ended
    assert words in done.text
    assert "smith" not in done.text


def test_figures_that_are_not_reported_stay_at_the_site(net):
    policy = Policy(reports=("examples",))
    for site in SITES:
        write_site(net.kits[site], net.folder / f"{site}.jsonl", net.backbone, policy)
    done = net.run(net_job(net, PROTOCOLS["averaging"], stop__rounds=1))
    assert done.ended == "done"
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["metrics"]["after"] == {}
    assert summary["clients"]["failed"] == []


def test_a_run_that_was_stopped_continues_to_the_same_bits(net):
    job = net_job(net, PROTOCOLS["averaging"], stop__rounds=2, personalization={"kind": "ditto"})
    whole = net.run(job)
    at_server(job.replace("stop.rounds", 1), net.line, net.folder, run="cut")
    other = at_server(job.replace("protocol.local.batch_size", 2), net.line, net.folder, run="cut")
    assert other.ended == "mend"
    assert "protocol.local.batch_size" in other.text
    done = at_server(job, net.line, net.folder, run="cut")
    assert "resume" in kinds(done)
    assert same_adapter(whole.folder, done.folder)


def test_what_is_forgotten_is_measured_at_the_sites_too(net, tmp_path):
    (tmp_path / "general.txt").write_text("A river runs to the sea, and nobody sells coffee there.\n" * 20)
    personal = {"kind": "finetune", "keep": "last", "learning_rate": 0.05}
    evaluation = {"retained": "general.txt", "generate": {"max_new_tokens": 4}}
    job = net_job(net, PROTOCOLS["averaging"], stop__rounds=1, personalization=personal, evaluation=evaluation)
    done, local = net.run(job), run(job, out=tmp_path / "local").summary
    assert done.ended == "done", done.text
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["retained"] == local["retained"]
    assert summary["personal"]["retained"] == local["personal"]["retained"]


def test_sites_of_two_tasks_come_to_the_bits_of_a_local_run(net):
    file = net.folder / "site-2.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in intents()))
    write_site(net.kits["site-2"], file, net.backbone, columns=COLUMNS)
    job = net_job(net, PROTOCOLS["averaging"], stop__rounds=1, personalization={"kind": "finetune", "keep": "last"})
    job = job.replace("clients.overrides", {"site-2": {"task": INTENT, "columns": COLUMNS}})
    local, done = run(job, out=net.folder / "local"), net.run(job)
    assert (done.ended, done.text) == ("done", "")
    assert same_adapter(local.folder, done.folder)
    assert json.loads((done.folder / "summary.json").read_text())["tasks"] == local.summary["tasks"]
    assert set(local.summary["tasks"]) == {"generation", "generation (site-2)"}


def test_ranks_that_the_server_chooses_by_the_same_measurements_give_the_bits_of_a_local_run(net, monkeypatch):
    measured = auto_ranks.measured

    def said(rows):
        return {
            client: replace(
                own, train_seconds=1.0, exchange_seconds=own.rank * (4.0 if client == "site-2" else 1.0), free_bytes=None
            )
            for client, own in measured(rows).items()
        }

    monkeypatch.setattr(auto_ranks, "measured", said)
    for site, kit in net.kits.items():
        write_site(kit, net.folder / f"{site}.jsonl", net.backbone, policy=replace(ALL, reports=(*ALL.reports, "memory")))
    protocol = {**PROTOCOLS["averaging"], "aggregation": {"kind": "flexlora"}}
    tuning = {"kind": "lora", "rank": "auto", "ranks": [1, 2, 4], "alpha": 4, "round_seconds": 6.0}
    job = net_job(net, protocol, stop__rounds=2, tuning=tuning)
    local, done = run(job, out=net.folder / "local"), net.run(job)
    assert (done.ended, done.text) == ("done", "")
    assert same_adapter(local.folder, done.folder)
    table = pd.read_parquet(done.folder / "clients.parquet")
    assert table.pivot(index="round", columns="client", values="rank").to_numpy(dtype=int).tolist() == [[1, 1], [4, 1]]
    assert (table["free_bytes"] > 0).all()  # as the sites report it
