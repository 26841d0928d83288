"""How strong protections must be before a site takes part."""

import pytest

from fedtailor.errors import SettingError
from fedtailor.job import Job
from fedtailor.network.kit.policy import Policy

BASE = {"backbone": "b", "task": {"kind": "generation"}, "data": {"train": "x.jsonl"}}
PERSON = {"kind": "dp-sgd", "unit": {"column": "patient_id"}, "epsilon": 4.0}


def refusals(asked, *, protection=(), privacy=None):
    job = Job.from_dict({**BASE, "protection": list(protection), "protocol": {"local": {"privacy": privacy}}})
    return "; ".join(Policy(protections=asked).refusals(job.to_dict()))


@pytest.mark.parametrize(
    ("asked", "job", "words"),
    [
        ({"dp": {"epsilon": 8}}, {}, "lacks protection by dp"),
        ({"dp": {"epsilon": 8}}, {"protection": [{"kind": "dp", "epsilon": 8.0}]}, ""),
        (
            {"dp": {"epsilon": 2}},
            {"protection": [{"kind": "dp", "epsilon": 8.0}]},
            "epsilon of dp is 8, and this site asks for at most 2",
        ),
        ({"dp": {"epsilon": 2}}, {"protection": [{"kind": "dp", "epsilon": None, "noise_multiplier": 1.0}]}, "unbounded"),
        ({"dp": {"epsilon": 8, "unit": "patient_id"}}, {"privacy": PERSON}, ""),
        ({"dp": {"epsilon": 8, "unit": "patient_id"}}, {"privacy": {**PERSON, "unit": "example"}}, "lacks protection by dp"),
        ({"dp": {"unit": "patient_id"}}, {"protection": [{"kind": "dp"}]}, "lacks protection by dp"),
        ({"dp": {"epsilon": 8, "unit": "client"}}, {"privacy": PERSON}, "lacks protection by dp"),
        ({"dp": {"epsilon": 3}}, {"privacy": PERSON}, "epsilon of dp is 4"),
        (
            {"secure-aggregation": {"least": 5}},
            {"protection": ["secure-aggregation"]},
            "fewer than 5 clients (protection.threshold: None)",
        ),
        ({"secure-aggregation": {"least": 5}}, {"protection": [{"kind": "secure-aggregation", "threshold": 6}]}, ""),
        (["secure-aggregation"], {"protection": ["secure-aggregation"]}, ""),
        ({"secure-aggregation": {"consistency": True}}, {"protection": ["secure-aggregation"]}, ""),
        (
            {"secure-aggregation": {"least": 5, "consistency": True}},
            {"protection": [{"kind": "secure-aggregation", "threshold": 5, "consistency": False}]},
            "sign who dropped out (protection.consistency: false)",
        ),
        (
            {"secure-aggregation": {"consistency": False}},
            {"protection": [{"kind": "secure-aggregation", "consistency": False}]},
            "",
        ),
        ({"secure-aggregation": {"consistency": True}}, {}, "lacks protection by secure-aggregation"),
    ],
)
def test_the_least_strength_is_held_against_the_job(asked, job, words):
    found = refusals(asked, **job)
    assert (words in found) if words else found == ""


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"dp": {"eps": 8}}, "policy.protections.dp names 'eps'; known are epsilon, delta, unit"),
        ({"dp": {"epsilon": -1}}, "must be a number above 0"),
        ({"dp": {"unit": 3}}, "must be a text"),
        (
            {"secure-aggregation": {"consistency": 1}},
            "policy.protections.secure-aggregation.consistency is 1; it must be true or false",
        ),
        ({"secure-aggregation": {"least": True}}, "must be a whole number above 0"),
        ({"dp": 8}, "is a mapping of strengths"),
        ({"codec": {"bits": 4}}, "known are none"),
    ],
)
def test_strengths_that_mean_nothing_are_named(asked, words):
    with pytest.raises(SettingError, match=words):
        Policy(protections=asked)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["dp"], ["asks for protection by dp", "does not bound epsilon"]),
        ({"dp": {"unit": "patient_id"}}, ["asks for protection by dp (unit patient_id)", "does not bound epsilon"]),
        ({"dp": {"epsilon": 8}}, ["asks for protection by dp (epsilon 8)"]),
        (
            ["secure-aggregation", "dp"],
            [
                "asks for protection by secure-aggregation, dp",
                "does not bound epsilon",
                "does not bound how many",
                "does not ask that clients sign",
            ],
        ),
        (
            {"secure-aggregation": {"least": 5, "consistency": True}},
            ["asks for protection by secure-aggregation (least 5, consistency true)"],
        ),
        ((), []),
    ],
)
def test_bounds_that_are_missing_are_said_to_the_owner(asked, words):
    lines = [
        line for line in Policy(protections=asked).lines() if "protection" in line or ("does not " in line and "policy:" in line)
    ]
    assert len(lines) == len(words)
    assert all(line.startswith(start) for line, start in zip(lines, words, strict=True))
    assert all("policy: {protections: {" in line for line in lines[1:])
