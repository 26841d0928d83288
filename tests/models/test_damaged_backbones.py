"""Whatever is wrong with a backbone's folder: it loads, or one paragraph names the folder or file and what to do; in bounded time and memory."""

import itertools
import json
import random
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from damaged import FAMILIES, damage, save_family, save_gguf

from fedtailor.errors import JobError
from fedtailor.models import load_backbone

MOST_SECONDS, MOST_BYTES = 60, 2 << 30  # of one load, on a machine that does other things too
SMALL, LARGE = 40, 720  # folders


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDTAILOR_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("families")
    return {name: save_family(name, root / name) for name in FAMILIES}


@contextmanager
def limits() -> Iterator[None]:
    """Fail what takes too long or too much memory."""

    def ring(*_: object) -> None:
        raise AssertionError(f"it took more than {MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) * 1024
    assert grown < MOST_BYTES, f"{grown:,} bytes"


def attempt(folder: Path, kind: str) -> str | None:
    """Return what a load says, or None if it succeeds; any other end is raised."""
    labels = ("a", "b") if kind == "classifier" else ()
    try:
        with limits():
            load_backbone(str(folder), kind=kind, labels=labels, device=torch.device("cpu"), base=folder.parent, seed=0)
    except JobError as error:
        return str(error)
    return None


def complaints(said: str, folder: Path) -> list[str]:
    """Return what is wrong with an error's text."""
    wrong = [] if str(folder) in said else ["does not name the folder"]
    wrong += ["more than one paragraph"] if "\n" in said else []
    wrong += ["too long"] if len(said) > 1200 else []
    wrong += ["a catch-all"] if "not on the list" in said or "not foresee" in said else []
    wrong += [] if ";" in said or "," in said else ["no advice"]
    return wrong


def fuzz(whole: dict[str, Path], tmp_path: Path, count: int, seed: int) -> dict[str, int]:
    ends = {"loads": 0, "refused": 0}
    faults = []
    for number, (name, (_, kind)) in zip(range(count), itertools.cycle(FAMILIES.items()), strict=False):
        draw = random.Random(f"{seed}-{number}")
        folder = shutil.copytree(whole[name], tmp_path / f"{name}-{number}")
        how = damage(folder, draw)
        begin = time.monotonic()
        try:
            said = attempt(folder, kind)
        except BaseException as fault:
            if isinstance(fault, KeyboardInterrupt | SystemExit):
                raise
            faults.append(f"{number} {name} {how}: {type(fault).__name__}: {str(fault)[:300]}")
            continue
        finally:
            shutil.rmtree(folder)
        ends["loads" if said is None else "refused"] += 1
        if said is not None and (wrong := complaints(said, folder)):
            faults.append(f"{number} {name} {how}: {wrong}: {said[:400]} ({time.monotonic() - begin:.1f} s)")
    assert not faults, "\n".join([f"{len(faults)} of {count}:", *faults])
    return ends


def test_some_damaged_folders_end_in_one_paragraph(whole, tmp_path):
    ends = fuzz(whole, tmp_path, SMALL, seed=0)
    assert ends["refused"] > SMALL // 3  # damage is done


@pytest.mark.attack
def test_many_damaged_folders_end_in_one_paragraph(whole, tmp_path):
    ends = fuzz(whole, tmp_path, LARGE, seed=1)
    assert ends["refused"] > LARGE // 3


def test_the_families_load_as_they_are(whole):
    for name, (_, kind) in FAMILIES.items():
        assert attempt(whole[name], kind) is None, name


HUGE = [
    ("llama", "vocab_size", 10**12),
    ("bert", "vocab_size", 10**9),
    ("bert", "num_labels", 10**12),
    ("llama", "num_hidden_layers", 10**9),
    ("gpt2", "n_layer", 10**12),
    ("mixtral", "num_local_experts", 10**9),
    ("bert", "max_position_embeddings", 10**12),
    ("t5", "d_ff", 10**10),
    ("llama", "hidden_size", 10**30),
]


@pytest.mark.parametrize(("name", "key", "value"), HUGE, ids=lambda value: str(value)[:12])
def test_a_huge_number_is_refused_before_anything_is_made_for_it(whole, tmp_path, name, key, value):
    folder = shutil.copytree(whole[name], tmp_path / "copy")
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, key: value}))
    said = attempt(folder, FAMILIES[name][1])
    assert said is not None
    assert key in said
    assert "config.json" in said


def test_code_that_a_folder_brings_is_never_run_and_nobody_is_asked(whole, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    folder = shutil.copytree(whole["llama"], tmp_path / "copy")
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for file, key, value in (
        ("config.json", "auto_map", {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}),
        ("tokenizer_config.json", "auto_map", {"AutoTokenizer": ["code.T", "code.T"]}),
        ("config.json", "model_type", "of-its-own"),
    ):
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**content, key: value}))
        said = attempt(folder, "causal")
        assert said is None or not complaints(said, folder)
    assert said is not None
    assert "its own code (auto_map) is never run" in said
    assert not (tmp_path / "ran").exists()


def test_damaged_gguf_files_end_in_one_paragraph(tmp_path):
    whole = save_gguf(tmp_path / "whole.gguf").read_bytes()
    draw = random.Random(0)
    for number in range(12):
        content = bytearray(whole)
        if number % 3 == 0:
            content = content[: draw.randrange(4, len(whole))]
        elif number % 3 == 1:
            for _ in range(3):
                content[draw.randrange(4, 1500)] = draw.randrange(256)
        else:
            begin = draw.randrange(8, 24)
            content[begin : begin + 8] = (2**60).to_bytes(8, "little")
        path = tmp_path / f"damaged-{number}.gguf"
        path.write_bytes(content)
        said = attempt(path, "causal")
        assert said is None or not complaints(said, tmp_path), f"{number}: {said}"
