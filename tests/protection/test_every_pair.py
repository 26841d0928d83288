"""Every combination of protections, protocols, tunings and rules runs, or is refused with both names and the reason; some of them must run."""

import itertools
import math
import re

import pytest
from denoisers import picture_job, picture_rows, unet_folder  # noqa: F401  a fixture
from jobs import tiny_job

from fedtailor.aggregation import AGGREGATIONS
from fedtailor.errors import SettingError
from fedtailor.job import Job
from fedtailor.protocols import PROTOCOLS
from fedtailor.running import run
from fedtailor.tuning import TUNINGS, UNTRAINED

SGD = {"optimizer": "sgd", "learning_rate": 0.1}
DP = {"kind": "dp", "clip": 0.5, "noise_multiplier": 0.3, "epsilon": None, "force": True}
DP_SGD = {"kind": "dp-sgd", "noise_multiplier": 1.0, "epsilon": None, "delta": 0.01}
CODECS = [{"kind": "codec", "code": code} for code in ("bfloat16", "int8", "int4", "ternary", "sign", "top-k")]
PROTECTIONS = {
    "none": [],
    "dp": [DP],
    "codec": ["codec"],
    "secure-aggregation": ["secure-aggregation"],
    "dp, codec": [DP, "codec"],
    "codec, secure-aggregation": ["codec", "secure-aggregation"],
    "dp, codec, secure-aggregation": [DP, "codec", "secure-aggregation"],
    "dp-sgd": DP_SGD,
}
TUNED = {"prefix": {"length": 2, "hidden": 8}, "peft": {"type": "IA3"}, "lora": {"rank": 2, "alpha": 4}, "fed-sb": {"rank": 2}}
TASKS = {"prompting": "label-likelihood", "retrieval": "question-answering"}
ALL = list(itertools.product(PROTOCOLS, [*TUNINGS, *UNTRAINED], AGGREGATIONS, PROTECTIONS))


def settings_of(protocol, tuning, rule, protection, backbone):
    """Return a job's settings; None where the protocol has no such rule to be named."""
    if protocol in (*TASKS, "distillation") and rule != "fedavg":
        return None
    chosen = PROTECTIONS[protection]
    local = {"batch_size": 4, "steps": 1, **(SGD if rule == "scaffold" else {})}
    local |= {"privacy": chosen, "batch_size": 2} if protection == "dp-sgd" else {}
    section = {"kind": protocol, "aggregation": {"kind": rule}, "local": local}
    if protocol == "distillation":
        section |= {"aggregation": "mean", "public": "rest"}
    if protocol in TASKS:
        section = {"kind": protocol}
    classes = {"task": {"kind": "classification", "labels": ["French", "Indian"]}}
    return {
        "backbone": str(backbone),
        "task": {"kind": TASKS.get(protocol, "generation")},
        "data": {"train": "given-in-memory.jsonl", **({"limit": {"train": 40}} if protocol == "distillation" else {})},
        "clients": {"count": 8, "min_examples": 2, "validation_share": 0.0, "test_share": 0.0},
        "tuning": {"kind": tuning, **TUNED.get(tuning, {})},
        "protocol": section | ({"cut": 1} if protocol == "split" else {}),
        "protection": [] if protection == "dp-sgd" else chosen,
        "stop": {"rounds": 1, "patience": None, "keep": "last"},
        "evaluation": {"metrics": ["loss"]},
        "precision": "float32",
        "threads": 1,
    } | (classes if tuning == "head" and protocol not in TASKS else {})


def refusal_of(settings):
    try:
        Job.from_dict(settings)
    except SettingError as reason:
        return str(reason)
    return ""


def check_refusal(text):
    """Hold a refusal to the promise: both sides by the names of their settings, and what to write instead."""
    assert re.search(r"does not go with|is not known across a cut|is for|needs|has no|trains|takes \d+ updates at least", text), (
        text
    )
    assert re.search(r"[;,.] ?(choose|leave|write|set|give|take|list|or)\b", text), text


@pytest.mark.parametrize("offset", [0, pytest.param(None, marks=pytest.mark.large)])
def test_every_combination_is_a_job_or_refused_with_both_names(offset):
    for protocol, tuning, rule, protection in ALL if offset is None else ALL[offset::61]:
        settings = settings_of(protocol, tuning, rule, protection, "backbone")
        if settings is not None and (text := refusal_of(settings)):
            check_refusal(text)


@pytest.mark.large
@pytest.mark.parametrize("protection", PROTECTIONS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_combination_that_is_a_job_runs_or_is_refused(protocol, protection, tiny_backbone_folder, rows, tmp_path):
    ran = 0
    for tuning, rule in itertools.product([*TUNINGS, *UNTRAINED], AGGREGATIONS):
        settings = settings_of(protocol, tuning, rule, protection, tiny_backbone_folder)
        if settings is None or tuning == "head" or protocol in TASKS or refusal_of(settings):
            continue
        try:
            done = run(Job.from_dict(settings), data=rows, out=tmp_path / f"{tuning}-{rule}")
        except SettingError as reason:
            check_refusal(str(reason))
            continue
        assert math.isfinite(done.history["loss"].iloc[-1]) if "loss" in done.history else done.summary["rounds"] == 1
        ran += 1
    assert ran or refusal_of(settings_of(protocol, "lora", "fedavg", protection, "backbone")) or protocol in TASKS


LINEAR = ("fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad", "ffa-lora", "fedsvd")
MUST = [("lora", rule) for rule in LINEAR] + [(tuning, rule) for tuning in ("full", "adapter", "prefix") for rule in LINEAR[:5]]
SUMS = {"dp": [DP], "secure-aggregation": ["secure-aggregation"], **{code["code"]: [code] for code in CODECS}}
WHOLE = list(itertools.product(SUMS, MUST))
# three of the 22 for each, others each time
SOME = [(name, MUST[(3 * number + 5 * place) % len(MUST)]) for number, name in enumerate(SUMS) for place in range(3)]


def check_runs(make_job, rows, folder, protection, pair):
    tuning, rule = pair
    feedback = rule == "fedsvd" and protection in ("ternary", "sign", "top-k")  # whose factors change: nothing is kept
    chosen = [{**SUMS[protection][0], "feedback": False}] if feedback else SUMS[protection]
    job = make_job(
        stop__rounds=1,
        clients__test_share=0.0,
        protection=chosen,
        tuning={"kind": tuning, **TUNED.get(tuning, {})},
        protocol={"aggregation": rule, "local": {"learning_rate": 0.01, "batch_size": 4, "steps": 1}},
        evaluation={"metrics": ["loss"]},
    )
    done = run(job, data=rows, out=folder / "r")
    assert done.history["update_norm"].gt(0).all()
    assert ("privacy" in done.summary) == (protection == "dp")


@pytest.mark.few(8)
@pytest.mark.parametrize(("protection", "pair"), SOME, ids=str)
def test_what_must_run_with_averaging(make_job, rows, tmp_path, protection, pair):
    check_runs(make_job, rows, tmp_path, protection, pair)


@pytest.mark.large
@pytest.mark.parametrize(("protection", "pair"), WHOLE, ids=str)
def test_all_that_must_run_with_averaging(make_job, rows, tmp_path, protection, pair):
    check_runs(make_job, rows, tmp_path, protection, pair)


@pytest.mark.parametrize("tuning", ["lora", "prompt", "prefix", "head"])
def test_what_must_run_with_dp_sgd(tuning, tiny_backbone_folder, tiny_bert_folder, rows, tmp_path):
    classes = tuning == "head"
    job = tiny_job(
        tiny_bert_folder if classes else tiny_backbone_folder,
        **({"task": {"kind": "classification"}, "evaluation": {"metrics": ["loss"]}} if classes else {}),
        stop__rounds=1,
        tuning={"kind": tuning, **({"length": 2} if tuning in ("prompt", "prefix") else {})},
        protocol__local={"learning_rate": 0.02, "batch_size": 2, "steps": 1, "privacy": DP_SGD},
    )
    given = [{"text": row["input"], "label": row["food"]} for row in rows] if classes else rows
    done = run(job, data=given, out=tmp_path / "r")
    assert done.summary["privacy"]["epsilon"] > 0
    assert done.history["update_norm"].gt(0).all()


@pytest.mark.few(1)
@pytest.mark.parametrize("protection", ["dp", "int4", "sign"])
def test_what_must_run_with_images(unet_folder, tmp_path, protection):  # noqa: F811
    job = picture_job(unet_folder, protection=SUMS[protection], stop__rounds=1)
    done = run(job, data=picture_rows(), out=tmp_path / "r")
    assert done.history["update_norm"].gt(0).all()
    assert ("privacy" in done.summary) == (protection == "dp")
