"""Every file of a run's folder, changed in every way: commands end with what is wrong, or work; none hangs, none trains another run."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import adapter, tiny_job, tiny_rows

from fedtailor.errors import JobError
from fedtailor.export import export
from fedtailor.report import read_run, show
from fedtailor.running import run
from fedtailor.running.resume import job_of_run

SOME = 8  # mutations that every run of the tests tries; the marker `attack` tries all


def cut(file: Path, draw: random.Random) -> None:
    os.truncate(file, draw.randrange(max(1, file.stat().st_size)))


def flip(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def remove(file: Path, draw: random.Random) -> None:
    file.unlink()


def swap(file: Path, draw: random.Random) -> None:
    other = draw.choice(sorted(path for path in file.parent.iterdir() if path != file and path.is_file()) or [file])
    content = file.read_bytes()
    file.write_bytes(other.read_bytes())
    other.write_bytes(content)


def pipe(file: Path, draw: random.Random) -> None:
    file.unlink()
    os.mkfifo(file)


def folder(file: Path, draw: random.Random) -> None:
    file.unlink()
    file.mkdir()


WAYS: tuple[Callable[[Path, random.Random], None], ...] = (cut, flip, remove, swap, pipe, folder)


@pytest.fixture(scope="module")
def done(tiny_backbone_folder, tmp_path_factory):
    """Return the folder of a finished run with all that a run can leave; it is never changed."""
    home = tmp_path_factory.mktemp("done") / "r"
    job = tiny_job(tiny_backbone_folder, stop__rounds=2, protocol__local__keep_optimizer=True, evaluation__metrics=["loss"])
    run(job, data=tiny_rows(), out=home)
    return home


def mutations(home: Path) -> list[tuple[str, Callable[[Path, random.Random], None]]]:
    files = sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file() and path.stat().st_size)
    return [(name, way) for name in files for way in WAYS]


def attempt(act: Callable[[], object]) -> str:
    """Return what was wrong, empty if it worked; anything but an error of the job is a fault of the test's subject."""
    try:
        act()
    except JobError as fault:
        return str(fault)
    return ""


def try_all(
    done: Path, place: Path, chosen: list[tuple[str, Callable[[Path, random.Random], None]]], seed: int
) -> dict[str, int]:
    """Mutate, look at the run, export it, resume it for one more round; a resumed run has the bits of an untouched one."""
    shutil.copytree(done, place / "whole")
    longer = ["stop.rounds=3"]
    run(job_of_run(place / "whole", longer), data=tiny_rows(), resume=place / "whole")
    want = adapter(place / "whole")
    counts = {"show": 0, "export": 0, "resume": 0}
    for number, (name, way) in enumerate(chosen):
        hurt = place / f"{number}"
        shutil.copytree(done, hurt)
        way(hurt / name, random.Random(f"{seed}/{name}/{way.__name__}"))
        what = f"{way.__name__} {name}"
        said = {
            "show": attempt(lambda hurt=hurt: show(read_run(hurt))),
            "export": attempt(lambda hurt=hurt: export(hurt, to="peft", folder=hurt.with_name(f"{hurt.name}-out"))),
            "resume": attempt(lambda hurt=hurt: run(job_of_run(hurt, longer), data=tiny_rows(), resume=hurt)),
        }
        for command, text in said.items():
            counts[command] += bool(text)
            assert not text or str(hurt) in text, f"{command} after {what} names no file: {text}"
        if not said["resume"]:
            found = adapter(hurt)
            assert all(bool((found[key] == want[key]).all()) for key in want), f"after {what} another run was resumed"
        shutil.rmtree(hurt)
    return counts


def test_some_mutated_folders(done, tmp_path):
    every = mutations(done)
    assert len(every) >= 100
    counts = try_all(done, tmp_path, random.Random(0).sample(every, SOME), seed=0)
    assert counts["export"] > 0 or counts["resume"] > 0


@pytest.mark.attack
def test_every_mutated_folder(done, tmp_path):
    try_all(done, tmp_path, mutations(done), seed=1)  # about a second each
