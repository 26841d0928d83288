"""Bad jobs, made from good ones: every setting of every protocol, task and tuning, with values that nobody means.

Each is carried as far as `fedtailor check` goes. It is either a job that can run, or it is refused: with an error of ours, in one
paragraph that names the setting, its section or the value, soon, and without much memory. Anything else is a fault.
"""

import copy
import os
import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from denoisers import dit_folder, gan_folder, unet_folder  # noqa: F401  fixtures
from good_jobs import good_jobs, more_jobs, write_data

from fedtailor.assembly import assemble
from fedtailor.cli.plan import plan_of
from fedtailor.errors import JobError
from fedtailor.job import Job

SMALL, MORE_SMALL = 300, 100  # of some ten thousand each
MOST_SECONDS = 20
MOST_BYTES = 1_500_000_000  # more than the process had before
Path = tuple[str | int, ...]


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


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with data and a pipe that nobody writes to."""
    folder = tmp_path_factory.mktemp("bad-jobs")
    write_data(folder)
    os.mkfifo(folder / "pipe")
    return folder


def cases_of(jobs, place):
    """Return every bad job once, in a seeded order: what it was made from, the setting that was changed, and the value."""
    seen, found = set(), []
    for name, raw in jobs.items():
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


@pytest.fixture(scope="module")
def cases(place, tiny_backbone_folder, tiny_bert_folder):
    return cases_of(good_jobs(str(tiny_backbone_folder), str(tiny_bert_folder)), place)


@pytest.fixture(scope="module")
def makers(unet_folder, dit_folder, gan_folder):  # noqa: F811
    return {"unet": str(unet_folder), "dit": str(dit_folder), "gan": str(gan_folder)}


@pytest.fixture(scope="module")
def more_cases(place, tiny_backbone_folder, tiny_bert_folder, makers):
    """Return bad jobs made from those that text, classes and rules alone do not reach."""
    return cases_of(more_jobs(str(tiny_backbone_folder), str(tiny_bert_folder), **makers), place)


def paths(settings: dict[str, Any], before: Path = ()) -> Iterator[Path]:
    for key, value in settings.items():
        yield (*before, key)
        for inner, found in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(found, dict):
                yield from paths(found, (*before, key) if inner is None else (*before, key, inner))


def kinds_on(settings: Any, path: Path) -> Iterator[str]:
    """Yield the kinds of the techniques that a path leads through."""
    for key in path:
        if isinstance(settings, dict):
            yield str(settings.get("kind", ""))
        settings = settings[key]


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
            job = Job.from_dict(changed(settings, path, value), base=base)
            plan_of(job, assemble(job), [])
    except JobError as error:
        said = str(error)
        if said.strip().count("\n") > str(value).count("\n"):
            return f"more than one paragraph: {said[:300]!r}"
        named = any(word in said for word in (*map(str, path[-2:]), str(value)[:40] or "''"))
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


def test_bad_jobs_of_pictures_prompts_and_questions(more_cases, place):
    assert faults(more_cases[:MORE_SMALL], place) == []


@pytest.mark.parametrize("stride", [pytest.param(5, marks=pytest.mark.attack), pytest.param(1, marks=pytest.mark.large)])
def test_bad_jobs_of_pictures_prompts_and_questions_in_full_size(more_cases, place, stride):
    """Many load a backbone of their own and are planned, which takes a tenth of a second each: attacks try every fifth."""
    assert len(more_cases) > 5000
    assert faults(more_cases[MORE_SMALL::stride], place) == []


@pytest.mark.attack
def test_bad_jobs_in_full_size(cases, place):  # some ten thousand, each of which takes about 8 ms
    assert len(cases) > 8000
    assert faults(cases[SMALL:], place) == []
