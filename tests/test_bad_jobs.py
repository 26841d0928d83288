"""Bad jobs, made from good ones: every setting of every protocol, task and tuning, with values that nobody means.

Each is carried as far as `fedtailor check` goes. It is either a job that can run, or it is refused: with an error of ours, in one
paragraph that names the setting, its section or the value, soon, and without much memory. Anything else is a fault.
"""

import copy
import json
import os
import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from jobs import tiny_rows

from fedtailor.aggregation import AGGREGATIONS
from fedtailor.aggregation.logits import LOGIT_AGGREGATIONS
from fedtailor.assembly import assemble, estimate
from fedtailor.data import PARTITIONS
from fedtailor.errors import JobError
from fedtailor.interfaces import traits_of
from fedtailor.job import Job
from fedtailor.personalization import PERSONALIZATIONS
from fedtailor.tuning import TUNINGS

SMALL = 300  # of some ten thousand
MOST_SECONDS = 20
MOST_BYTES = 1_500_000_000  # more than the process had before
NEEDED: dict[str, dict[str, Any]] = {  # settings without a default, or whose default does not fit a model of width 16
    "fed-sb": {"rank": 4},
    "peft": {"type": "IA3"},
    "fedper": {"home": ["*layers.1*"]},
    "fedrep": {"home": ["*layers.1*"]},
    **{kind: {"by": "food"} for kind in ("dirichlet", "natural", "skew", "shards")},
}
Path = tuple[str, ...]


def odd_values(pipe: str) -> list[Any]:
    """Return values that fit no setting, or hardly any."""
    numbers = [-1, 0, 10**7, 10**9, 10**23, -(10**23), 10**400, 1e23, 1e9, 1e308, 1e-320, 1.5, float("nan"), float("inf")]
    texts = ["", " ", "x" * 300, "x/" * 3000, "a\0b", "\n", "\x1b[31mred", "\u202eabc", "%s", "{input", "{{{}}}", "{0.__class__}"]
    places = [
        "/dev/zero",
        "/dev/stdin",
        pipe,
        "..",
        "/",
        "~nobody/x",
        "train.jsonl",
        "os:system",
        "no.such:Class",
        ":",
        "hub:x:" * 90,
    ]
    nested = [
        [],
        [1],
        ["x"],
        [[[]]],
        ["x"] * 5000,
        {},
        {"a": 1},
        {"kind": 5},
        {"kind": "x"},
        {"kind": ["lora"]},
        {1: 2},
        {"": ""},
    ]
    return [None, True, *numbers, *texts, *places, *nested]


def own_clients(partition: str) -> dict[str, Any]:
    """Return how many clients fit a partition: those that the data name, or two."""
    return {"min_examples": 4} if partition in {"natural", "files"} else {"count": 2}


def good_jobs(llama: str, bert: str) -> dict[str, dict[str, Any]]:
    """Return jobs that can run: each technique of each family at least once."""
    base: dict[str, Any] = {
        "name": "tiny",
        "backbone": llama,
        "task": {"kind": "generation"},
        "data": {"train": "train.jsonl"},
        "clients": {"count": 4, "min_examples": 2},
        "tuning": {"kind": "lora", "rank": 2},
        "threads": 1,
        "precision": "float32",
    }
    classes = {"backbone": bert, "task": {"kind": "classification"}}
    distilled = {"kind": "distillation", "public": "public.jsonl"}
    changes: dict[str, dict[str, Any]] = {
        "lines": {"task": {"kind": "language-modeling"}},
        "classes": classes,
        "split": {"protocol": {"kind": "split", "cut": 1}},
        "distilled classes": classes | {"protocol": distilled},
        "override": {
            "clients": {"count": 4, "overrides": {"client-00": {"tuning": {"rank": 1}}}},
            "protocol": {"aggregation": {"kind": "flexlora"}},
        },
        **{f"tuning {kind}": {"tuning": {"kind": kind} | NEEDED.get(kind, {})} for kind in set(TUNINGS) - {"head", "frozen"}},
        "tuning head": classes | {"tuning": {"kind": "head"}},
        **{f"personal {kind}": {"personalization": {"kind": kind} | NEEDED.get(kind, {})} for kind in PERSONALIZATIONS},
        **{
            f"rule {kind}": {
                "clients": {"count": max(4, traits_of(rule()).least), "min_examples": 2},
                "protocol": {"aggregation": {"kind": kind}, "local": {"optimizer": "sgd", "learning_rate": 0.1}},
            }
            for kind, rule in AGGREGATIONS.items()
        },
        **{
            f"logits {kind}": classes | {"protocol": distilled | {"aggregation": kind, "label_counts": kind == "label-counts"}}
            for kind in LOGIT_AGGREGATIONS
        },
        **{
            f"partition {kind}": {"clients": own_clients(kind) | {"partition": {"kind": kind} | NEEDED.get(kind, {})}}
            for kind in PARTITIONS
        },
    }
    return {name: base | change for name, change in changes.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with data and a pipe that nobody writes to."""
    folder = tmp_path_factory.mktemp("bad-jobs")
    rows = [{**row, "text": row["input"] + row["target"], "label": row["food"]} for row in tiny_rows()]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "public.jsonl").write_text("".join(json.dumps(row | {"text": f"public {row['text']}"}) + "\n" for row in rows))
    os.mkfifo(folder / "pipe")
    return folder


@pytest.fixture(scope="module")
def cases(place, tiny_backbone_folder, tiny_bert_folder):
    """Return every bad job once, in a seeded order: what it was made from, the setting that was changed, and the value."""
    seen, found = set(), []
    for name, raw in good_jobs(str(tiny_backbone_folder), str(tiny_bert_folder)).items():
        try:
            job = Job.from_dict(raw, base=place)
            assemble(job)
        except JobError as error:
            raise AssertionError(f"{name} is to be a good job: {error}") from error
        settings = job.to_dict()
        del settings["base"]
        for path in paths(settings):
            for value in odd_values(str(place / "pipe")):
                key = (path, *kinds_on(settings, path), repr(value))
                if key not in seen:
                    seen.add(key)
                    found.append((name, settings, path, value))
    random.Random(15).shuffle(found)
    return found


def paths(settings: dict[str, Any], before: Path = ()) -> Iterator[Path]:
    for key, value in settings.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from paths(value, (*before, key))


def kinds_on(settings: Any, path: Path) -> Iterator[str]:
    """Yield the kinds of the techniques that a path leads through."""
    for key in path:
        if isinstance(settings, dict):
            yield str(settings.get("kind", ""))
            settings = settings.get(key)


def changed(settings: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    whole = copy.deepcopy(settings)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return whole


class TooSlow(BaseException):
    """No error that any code under test would catch."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fault(settings: dict[str, Any], path: Path, value: Any, base: Any) -> str | None:
    """Return what is wrong with the way a bad job ends; None if it is refused as it should be, or can run."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with at_most(MOST_SECONDS):
            estimate(assemble(Job.from_dict(changed(settings, path, value), base=base)))
    except JobError as error:
        said = str(error)
        if said.strip().count("\n") > str(value).count("\n"):
            return f"more than one paragraph: {said[:300]!r}"
        named = any(word in said for word in (path[-1], *path[-2:-1], str(value)[:40] or "''"))
        return None if named else f"names neither the setting nor its value: {said[:300]!r}"
    except TooSlow:
        return f"takes more than {MOST_SECONDS} s"
    except Exception as error:
        return f"did not foresee {type(error).__name__}: {str(error)[:200]}"
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return f"takes {grown / 1e9:.1f} GB" if grown > MOST_BYTES else None


def faults(cases, base) -> list[str]:
    found = []
    for name, settings, path, value in cases:
        if path == ("data",) and not value:
            continue  # the default are the docstrings of what is installed: good, and many
        if (text := fault(settings, path, value, base)) is not None:
            found.append(f"{name}: {'.'.join(path)} = {repr(value)[:60]}: {text}")
    return found


def test_bad_jobs(cases, place):
    assert faults(cases[:SMALL], place) == []


@pytest.mark.attack
def test_bad_jobs_in_full_size(cases, place):  # some ten thousand, each of which takes about 8 ms
    assert len(cases) > 8000
    assert faults(cases[SMALL:], place) == []
