"""The same rows under the same weights are scored once, each second is given to one part, and figures add up."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass

import pandas as pd
import pytest
from distilling import LEARN, class_data, class_job
from jobs import tiny_rows

from fedtailor.assembly import assemble
from fedtailor.data import read
from fedtailor.errors import SettingError
from fedtailor.job import Job
from fedtailor.models import cache
from fedtailor.report import read_run, show
from fedtailor.running import run
from fedtailor.studies.baselines import run_baseline
from fedtailor.tasks import generation
from fedtailor.tasks.text import measure

KEYS = ["round", "scope", "client", "metric"]
LOCAL = {"learning_rate": 0.02, "batch_size": 4}
JOBS = {
    "averaging": {},
    "the untouched weights stay best": {"protocol__local__learning_rate": 5.0},
    "texts at every evaluation": {"evaluation__generate_at": "always"},
    "every second round": {"evaluation__every": 2},
    "personal": {"personalization": {"kind": "finetune"}, "evaluation__local_only": True},
    "weights that stay home": {"personalization": {"kind": "fedper", "home": ["*lora_B*"]}},
    "distillation": {"protocol": {"kind": "distillation", "public": "rest", "local": LOCAL}, "data__limit": {"train": 40}},
    "split": {"protocol": {"kind": "split", "cut": 1, "local": LOCAL}, "tuning__dropout": 0.0},
}


@pytest.fixture
def passes(monkeypatch):
    """Count the passes over sets of rows, by the weights in place and the rows."""
    found = Counter()

    def count(worker, shard, how):
        weights = hashlib.sha256()
        for parameter in worker.model.parameters():
            if parameter.requires_grad:
                weights.update(parameter.detach().numpy().tobytes())
        rows = hashlib.sha256(shard.tokens_T.numpy().tobytes()).hexdigest()
        found[weights.hexdigest(), rows, how.sample_alone] += 1

    def counting(losses):
        def counted(task, worker, shard, how):
            count(worker, shard, how)
            return losses(task, worker, shard, how)

        return counted

    losses = measure.token_losses
    for module in (measure, generation):
        monkeypatch.setattr(module, "token_losses", counting(losses))
    return found


@pytest.mark.few(4)
@pytest.mark.parametrize("changes", JOBS.values(), ids=JOBS)
def test_rows_are_scored_once_and_seconds_sum_to_the_whole(make_job, rows, tmp_path, passes, changes):
    done = run(make_job(stop__rounds=2, evaluation__local_gain=True, **changes), data=rows, out=tmp_path / "r")
    assert passes
    assert max(passes.values()) == 1
    assert not pd.read_parquet(done.folder / "evaluations.parquet").duplicated(KEYS).any()
    seconds = dict(done.summary["seconds"])
    whole = seconds.pop("total")
    assert sum(seconds.values()) == pytest.approx(whole, rel=0.02)
    assert min(seconds["train"], seconds["evaluate"], seconds["save"]) > 0


def test_a_finished_run_that_is_resumed_scores_nothing_again(make_job, rows, tmp_path, passes):
    job = make_job(stop__rounds=1)
    run(job, data=rows, out=tmp_path / "r")
    run(job.replace("stop.rounds", 2), data=rows, resume=tmp_path / "r")
    assert max(passes.values()) == 1


def test_baselines_score_what_all_share_once_and_have_no_traffic(make_job, tmp_path, passes):
    rows = tiny_rows()
    parts = {"train": rows[:36], "validation": rows[36:42], "test": rows[42:]}
    done = run_baseline(make_job(stop__rounds=1), "local", data=parts, out=tmp_path / "local")
    assert max(passes.values()) == 1
    names = [f"client-0{number}" for number in range(4)]
    assert sorted(pd.read_parquet(done.folder / "clients.parquet")["client"]) == names
    assert sorted(set(pd.read_parquet(done.folder / "evaluations.parquet")["client"])) == names
    central = run_baseline(make_job(stop__rounds=1), "central", data=parts, out=tmp_path / "central")
    assert central.summary["traffic"] == {"up_bytes": 0, "down_bytes": 0, "by_kind": {}}
    assert not pd.read_parquet(central.folder / "clients.parquet")[["up_bytes", "down_bytes"]].any(axis=None)


def test_the_gain_is_that_of_the_evaluations_around_it(make_job, rows, tmp_path):
    done = run(make_job(stop__rounds=2, evaluation__local_gain=True), data=rows, out=tmp_path / "r")
    evaluations = pd.read_parquet(done.folder / "evaluations.parquet")
    losses = evaluations[(evaluations["scope"] == "client-validation") & (evaluations["metric"] == "loss")]
    before = {(row["round"] + 1, row["client"]): row["value"] for row in losses.to_dict("records")}
    clients = pd.read_parquet(done.folder / "clients.parquet").to_dict("records")
    assert [row["validation_before"] for row in clients] == [before[row["round"], row["client"]] for row in clients]
    assert all(row["validation_after"] < row["validation_before"] for row in clients)


@pytest.mark.parametrize(
    ("changes", "columns"),
    [
        (
            {"evaluation__every": 2, "evaluation__local_gain": True},
            [2],
        ),  # what a client starts from in round 2 was not evaluated: it is measured there
        (
            {"protocol__wire": "bfloat16", "evaluation__local_gain": True},
            [1, 2],
        ),  # what is received is rounded, and not what was evaluated
        ({}, None),
        ({**JOBS["split"], "evaluation__local_gain": True}, None),  # a client has but a part of the model
    ],
)
def test_both_columns_of_the_gain_are_there_in_rounds_that_are_evaluated_or_neither(make_job, rows, tmp_path, changes, columns):
    done = run(make_job(stop__rounds=2, **changes), data=rows, out=tmp_path / "r")
    clients = pd.read_parquet(done.folder / "clients.parquet")
    named = [name for name in ("validation_before", "validation_after") if name in clients]
    assert len(named) == (0 if columns is None else 2)
    for name in named:
        assert sorted(set(clients.loc[clients[name].notna(), "round"])) == columns or name == "validation_before"
        assert set(columns) <= set(clients.loc[clients[name].notna(), "round"])


def test_of_a_large_validation_part_64_rows_are_measured_before_and_after(make_job, tmp_path):
    rows = [{**row, "target": f"{row['target']} no {number}"} for number in range(3) for row in tiny_rows()]
    job = make_job(clients__count=1, clients__validation_share=0.7, clients__test_share=0.1, protocol__local__learning_rate=1e-12)
    done = run(job.replace("evaluation.local_gain", True).replace("stop.rounds", 1), data=rows, out=tmp_path / "r")
    (row,) = pd.read_parquet(done.folder / "clients.parquet").to_dict("records")
    evaluations = pd.read_parquet(done.folder / "evaluations.parquet")
    own = evaluations[(evaluations["scope"] == "client-validation") & (evaluations["round"] == 0)].set_index("metric")["value"]
    assert own["examples"] > 64
    assert row["validation_before"] == own["sample_loss"] != own["loss"]
    assert row["validation_after"] == pytest.approx(row["validation_before"], rel=1e-6)  # nothing was learned: the same rows


def test_the_report_says_where_there_is_no_gain(make_job, rows, tmp_path, capsys):
    from rich.console import Console

    for gain, said in ((True, "of validation loss, mean over clients"), (False, "not measured: evaluation.local_gain is off")):
        done = run(make_job(stop__rounds=1, evaluation__local_gain=gain), data=rows, out=tmp_path / str(gain))
        Console(width=150).print(show(read_run(done.folder)))
        assert said in capsys.readouterr().out


@dataclass(frozen=True, kw_only=True)
class Length:
    """The mean number of characters of an answer, which is a mean; or their largest, which is none."""

    name: str = "length"
    higher_is_better: bool = True
    is_mean: bool = True

    def score(self, answers, references):
        lengths = [len(answer) for answer in answers]
        return sum(lengths) / len(lengths) if self.is_mean else max(lengths)


def test_a_metric_of_ones_own_is_named_by_its_class(make_job, rows, tmp_path):
    kind = f"{__name__}:Length"
    metrics = ["loss", "rouge1", kind, {"kind": kind, "name": "longest", "is_mean": False}]
    job = make_job(evaluation__metrics=metrics, stop__rounds=1)
    assert Job.from_dict(job.to_dict()) == job
    done = run(job, data=rows, out=tmp_path / "r")
    after, clients = done.summary["metrics"]["after"], done.summary["clients"]
    assert {"length", "rouge1"} <= after.keys()
    assert "longest" not in after
    assert clients["worst"]["longest"] <= clients["mean"]["longest"]
    assert f"{'test.length'}" in done.folder.joinpath("manifest.json").read_text()
    with pytest.raises(SettingError, match="neither texts nor classes"):
        make_job(task={"kind": "language-modeling"}, evaluation__metrics=[kind])


def test_macro_f1_of_all_clients_is_that_of_all_their_examples(tiny_bert_folder, tmp_path):
    metrics = ["loss", "macro_f1", f"{__name__}:Length"]
    job = class_job(tiny_bert_folder, evaluation__metrics=metrics, stop__rounds=1, clients__test_share=0.3)
    job = job.replace("protocol", {"kind": "averaging", "local": LEARN})
    done = run(job, data=class_data()["train"], out=tmp_path / "r")
    counts = done.summary["counts"]["after"]["macro_f1_counts"]
    classes = len(counts) // 3
    scores = [
        2 * counts[c] / (counts[classes + c] + counts[2 * classes + c])
        for c in range(classes)
        if counts[classes + c] + counts[2 * classes + c]
    ]
    assert done.summary["metrics"]["after"]["macro_f1"] == pytest.approx(sum(scores) / len(scores))
    assert sum(counts[classes : 2 * classes]) == done.summary["metrics"]["after"]["examples"]
    assert "length" in done.summary["metrics"]["after"]


@pytest.fixture
def reads(monkeypatch):
    """Count how often each file of data is read, and each file of a backbone is hashed."""
    found = Counter()

    def counting(function):
        def counted(path, *given):
            found[function.__name__, path.name] += 1
            return function(path, *given)

        return counted

    monkeypatch.setattr(read, "content_of", counting(read.content_of))
    monkeypatch.setattr(cache, "sha256_of", counting(cache.sha256_of))
    return found


@pytest.mark.parametrize("trust_times", [False, True], ids=["run", "check"])
def test_files_are_read_once_and_hashed_once(make_job, tmp_path, reads, trust_times, monkeypatch):
    monkeypatch.setenv("FEDTAILOR_CACHE", str(tmp_path / "cache"))
    for part, rows in (("train", tiny_rows()[:36]), ("validation", tiny_rows()[36:42]), ("test", tiny_rows()[42:])):
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {f"data__{part}": str(tmp_path / f"{part}.jsonl") for part in ("train", "validation", "test")}
    job = make_job(stop__rounds=1, **files)
    run(job, out=tmp_path / "r") if not trust_times else assemble(job, trust_times=True)
    assert {"train.jsonl", "model.safetensors", "tokenizer.json", "config.json"} <= {name for _, name in reads}
    assert set(reads.values()) == {1}
    if trust_times:
        reads.clear()
        assemble(job, trust_times=True)
        assert {how for how, _ in reads} == {"content_of"}  # sizes and times stand for the hashes
