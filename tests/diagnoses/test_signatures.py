"""Each signature fires on a run that provokes it, is silent on a healthy one, and says what it lacks."""

import shlex

import pytest

from fedtailor.diagnoses import COMPARISONS, SIGNATURES, diagnose, with_thresholds
from fedtailor.errors import SettingError

LOCAL = {"learning_rate": 0.003, "epochs": 1, "batch_size": 8}
ROWS = 5 * 4  # of clients.parquet: rounds times clients


def protocol(kind="averaging", **more):
    return {"protocol": {"kind": kind, "local": LOCAL, **more}}


def gains(*, gain, taken, losses=(2.0, 1.999, 1.998, 1.997, 1.996)):
    """Return columns of clients that gain in each round what averaging takes back in part."""
    before = [loss for loss in losses for _ in range(4)]
    return {"validation_before": before, "validation_after": [loss - gain for loss in before]}


def personal(shared, own):
    clients = {c: {"global": {"loss": shared}, "personal": {"loss": loss}} for c, loss in zip("abcd", own, strict=True)}
    return {"job": {"personalization": {"kind": "finetune"}}, "personal": {"clients": clients}}


PICTURES = {"task": {"kind": "image-generation"}}


def pictures(recall):
    return {"after": {"loss": 0.2, "recall": recall, "recall_real": 0.9, "samples": 500, "samples_real": 500}}


EVALUATED = [
    {"round": r, "scope": "client", "client": c, "metric": "loss", "value": v}
    for c, v in [*((f"asked{i}", 1.0) for i in range(4)), *((f"never{i}", 3.5) for i in range(4))]
    for r, v in ((0, 4.0), (5, v))
]

PROVOKED = {
    "stalls-early": {"losses": (4.0, 4.1, 4.3, 4.2, 4.4, 4.5), "clients": {"first_loss": 4.0, "last_loss": 4.4, "clipped": 0.95}},
    "out-of-memory": {"events": [{"event": "failure", "client": "a", "round": 2, "text": "failed: OutOfMemoryError"}]},
    "unstable-rounds": {"losses": (4.0, 3.0, 2.0, 2.6, 2.0, 2.7)},
    "personal-worse": personal(2.0, [2.5, 2.4, 2.2, 2.0]),
    "collapsed-texts": {"texts": [(f"reference number {i}", "") for i in range(12)]},
    "collapsed-pictures": {"job": PICTURES, "metrics": pictures(recall=0.05)},
    "plateau": {"losses": (2.4, 2.0, 1.999, 1.998, 1.997, 1.996), "clients": gains(gain=0.1, taken=1.0)},
    "unequal-ranks": {
        "job": {"clients": {"overrides": {"a": {"tuning": {"rank": 2}}}}},
        "rounds": {"bias": [0.4, 0.5, 0.4, 0.5, 0.4]},
    },
    "public-set": {
        "job": protocol("distillation", top_k=8),
        "distillation": {"public_set": {"told_apart": {"mean": 0.8}, "labels_unlike": 0.2}},
    },
    "large-logits": {
        "job": protocol("distillation"),
        "traffic": {"by_kind": {"train": {"up_bytes": 1e9}}},
        "trainable_parameters": 1000,
        "distillation": {"public_set": {}},
    },
    "quantized-activations": {
        "job": protocol("split", wire={"kind": "int4"}, cut=2),
        "losses": (4.0, 3.9, 4.0, 3.9, 4.1, 4.0),
        "clients": {"wire_error": 0.3, "gradient_error": 0.4},
    },
    "slow-exchange": {"events": [{"event": "failure", "client": "b", "round": 3, "text": "lost: TimedOut"}]},
    "cut-too-high": {"job": protocol("split", cut=20), "rounds": {"server_seconds": 1.0}},
    "many-epochs": {
        "job": {"protocol": {"kind": "averaging", "local": {**LOCAL, "epochs": 20}}},
        "losses": (4.0, 3.0, 2.9, 3.0, 3.1, 3.2),
    },
    "few-asked": {"job": {"clients": {"fraction": 0.5}}, "clients": {"client": [f"asked{i % 4}" for i in range(ROWS)]}},
    "import-failed": {"events": [{"event": "failure", "client": "a", "text": "failed: ModuleNotFoundError"}]},
    "certificate": {"events": [{"event": "failure", "client": "a", "text": "certificate verify failed: expired"}]},
    "versions-differ": {"events": [{"event": "warning", "text": "site a runs another version of fedtailor"}]},
    "path": {"events": [{"event": "failure", "client": "a", "text": "failed: FileNotFoundError"}]},
    "disk-full": {"events": [{"event": "stopped", "text": "runs/a: the disk is full, or its quota used up"}]},
    "not-finite": {"events": [{"event": "failure", "client": "a", "round": 1, "text": "not-finite: NotFinite"}]},
    "damaged-checkpoint": {"events": [{"event": "damaged-checkpoint", "text": "checkpoint 3 is damaged"}]},
}

HEALTHY = {
    "averaging": {
        "clients": {"clipped": 0.3, **gains(gain=0.5, taken=0.2, losses=(3.0, 2.5, 2.2, 2.1, 2.05))},
        "rounds": {"bias": 0.12},
    },
    "distillation": {
        "job": protocol("distillation", top_k=8),
        "distillation": {"public_set": {"told_apart": {"mean": 0.52}, "labels_unlike": 0.1}},
    },
    "split": {
        "job": protocol("split", wire={"kind": "int8"}, cut=2),
        "rounds": {"server_seconds": 40.0},
        "clients": {"wire_error": 0.01, "gradient_error": 0.02},
    },
    "personal": personal(2.0, [1.8, 1.9, 2.0, 1.7]),
    "pictures": {"job": PICTURES, "metrics": pictures(recall=0.4)},
    "texts": {"texts": [(f"reference number {i}", f"a text of number {i}") for i in range(12)]},
}


def test_every_signature_has_a_run_that_provokes_it():
    assert {each.name for each in SIGNATURES} == set(PROVOKED)


@pytest.mark.parametrize("name", PROVOKED)
def test_it_fires_on_its_provoking_run_with_figures_and_a_source(name, made):
    import pandas as pd

    evidence = made(**PROVOKED[name])
    if name == "few-asked":
        pd.DataFrame(EVALUATED).to_parquet(evidence.run.folder / "evaluations.parquet")
    found = {finding.signature: finding for finding in diagnose([evidence.run]).findings}
    assert name in found
    finding = found[name]
    assert finding.evidence
    assert finding.advice
    assert finding.source.startswith(("arXiv:", "the events"))
    assert all("=" in override for override in finding.overrides)


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_shows_nothing(name, made):
    found = diagnose([made(**HEALTHY[name]).run])
    assert [finding.signature for finding in found.findings] == []
    assert len(found.silent) >= 9


def test_what_was_not_measured_is_not_judged(made):
    found = diagnose([made().run])
    assert (
        found.not_judged["plateau"]
        == "no column validation_before in clients.parquet; a run with evaluation.local_gain=true has it"
    )
    assert found.not_judged["unequal-ranks"] == "no column bias in rounds.parquet"
    assert "plateau" not in found.silent


def test_figures_in_the_evidence_are_those_of_the_run(made):
    found = diagnose([made(**PROVOKED["plateau"]).run]).findings
    (plateau,) = [finding for finding in found if finding.signature == "plateau"]
    # the average begins 0.1 - 0.001 above what the client had: 0.099 of a gain of 0.1 are taken back
    assert "clients still gain 5.0 % a round by themselves; averaging takes 99 % of it back (median)" in plateau.evidence
    assert "protocol.local.learning_rate=0.009" in plateau.overrides
    (worse,) = diagnose([made(**personal(2.0, [2.5, 2.4, 2.2, 2.0])).run]).findings
    assert worse.evidence[0] == "the personal loss is 14 % above the shared one on average, and above it at 3 of 4 clients"


def test_the_mean_of_one_client_takes_nothing_back(made):
    swings = (
        3.0,
        2.0,
        2.1,
        1.5,
        1.6,
    )  # what the client of a round gains, the next one begins with: the swings are between clients
    alone = made(losses=(4.0, *swings), clients={"client": "a", **gains(gain=0.5, taken=0, losses=swings)})
    assert alone.taken == {}
    assert "unstable-rounds" in [finding.signature for finding in diagnose([alone.run]).findings]
    four = made(losses=(4.0, *swings), clients=gains(gain=0.5, taken=0, losses=swings))
    assert "unstable-rounds" in diagnose([four.run]).silent


def test_thresholds_are_settings(made):
    run = made(**PROVOKED["plateau"]).run
    signatures, comparisons = with_thresholds(["plateau.taken=0.995"])
    assert "plateau" in diagnose([run], signatures=signatures, comparisons=comparisons).silent
    with pytest.raises(SettingError, match=r"did you mean plateau\.taken"):
        with_thresholds(["plateau.takn=1"])
    with pytest.raises(SettingError, match="no number"):
        with_thresholds(["plateau.taken=much"])


def test_seeds_clients_and_data_are_compared_between_runs(made):
    assert [each.name for each in COMPARISONS] == ["sparse-clients", "seeds-differ", "stale-backbone"]
    seeds = [made(job={"seed": seed}, losses=(4.0, end)) for seed, end in enumerate((2.0, 3.5, 3.9))]
    (finding,) = diagnose([each.run for each in seeds]).findings
    assert finding.signature == "seeds-differ"
    # gains -2, -0.5, -0.1: mean -0.867, standard deviation 1.002
    assert finding.evidence[0] == "the gain in loss is -0.867 ± 1.002 over 3 seeds: 116 % of itself"
    few = made(job={"clients": {"count": 4}}, losses=(4.0, 2.0))
    many = made(job={"clients": {"count": 40}}, losses=(4.0, 3.0), clients={"examples": 9, "steps": 1})
    assert "sparse-clients" in [finding.signature for finding in diagnose([many.run, few.run]).findings]
    old, new = made(job={"data": {"train": "2024"}}, losses=(3.0, 2.0)), made(job={"data": {"train": "2026"}}, losses=(4.0, 2.0))
    assert [finding.signature for finding in diagnose([old.run, new.run]).findings] == ["stale-backbone"]
    assert diagnose([few.run]).not_judged["seeds-differ"] == "it needs three runs that differ in their seed alone"


JOBS = {
    "averaging": "protocol: averaging\n",
    "split": "protocol: {kind: split, cut: 4}\n",
    "distillation": "protocol: {kind: distillation, public: public.csv}\n",
}


OWN = {"personal-worse": "personalization: finetune\n"}


@pytest.mark.parametrize("name", [name for name, run in PROVOKED.items() if name != "few-asked"])
def test_each_override_is_one_that_a_job_takes(name, made, tmp_path):
    from fedtailor.cli.diagnose import quoted
    from fedtailor.job import Job

    (tmp_path / "public.csv").write_text("text,label\na,b\n")
    kind = PROVOKED[name].get("job", {}).get("protocol", {}).get("kind", "averaging")
    file = tmp_path / "job.yaml"
    file.write_text("backbone: minilm-l6\ntask: classification\ndata: {train: public.csv}\n" + JOBS[kind] + OWN.get(name, ""))
    for finding in diagnose([made(**PROVOKED[name]).run]).findings:
        for override in finding.overrides:
            Job.load(file, [setting.strip("'") for setting in shlex.split(quoted(override))])


def test_what_a_run_lacks_is_said_with_the_setting_that_gives_it(made):
    lacking = made().missing(["rounds.validation_loss", "clients.validation_before"])
    assert lacking == "no column validation_before in clients.parquet; a run with evaluation.local_gain=true has it"
