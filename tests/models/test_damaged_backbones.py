"""Whatever is wrong with a backbone's folder: it loads, or one paragraph names the folder or file and what to do; in bounded time and memory."""

import errno
import importlib.util
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
from damaged import FAMILIES, damage, damage_gguf, damage_pieces, save_family, save_gguf, save_pieces
from denoisers import LABELS, dit_folder, gan_folder, unet_folder  # noqa: F401  fixtures

from fedtailor.errors import JobError
from fedtailor.models import load_backbone

MOST_SECONDS, MOST_BYTES = 60, 2 << 30  # of one load, on a machine that does other things too
SMALL, LARGE = 40, 720  # folders
DRAWING_SMALL, DRAWING_LARGE = 30, 600
KINDS = {name: kind for name, (_, kind) in FAMILIES.items()}
DRAWING = {"unet": "denoiser", "dit": "denoiser", "gan": "gan"}


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
    labels = {"classifier": ("a", "b"), "denoiser": LABELS}.get(kind, ())
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


def fuzz(whole: dict[str, Path], kinds: dict[str, str], tmp_path: Path, count: int, seed: int) -> dict[str, int]:
    ends = {"loads": 0, "refused": 0}
    faults = []
    for number, (name, kind) in zip(range(count), itertools.cycle(kinds.items()), strict=False):
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
    ends = fuzz(whole, KINDS, tmp_path, SMALL, seed=0)
    assert ends["refused"] > SMALL // 3  # damage is done


@pytest.mark.attack
def test_many_damaged_folders_end_in_one_paragraph(whole, tmp_path):
    ends = fuzz(whole, KINDS, tmp_path, LARGE, seed=1)
    assert ends["refused"] > LARGE // 3


@pytest.fixture(scope="module")
def drawing(unet_folder, dit_folder, gan_folder):  # noqa: F811
    return {"unet": unet_folder, "dit": dit_folder, "gan": gan_folder}


def test_some_damaged_folders_of_pictures_end_in_one_paragraph(drawing, tmp_path):
    assert all(attempt(drawing[name], kind) is None for name, kind in DRAWING.items())
    ends = fuzz(drawing, DRAWING, tmp_path, DRAWING_SMALL, seed=0)
    assert ends["refused"] > DRAWING_SMALL // 3


@pytest.mark.attack
def test_many_damaged_folders_of_pictures_end_in_one_paragraph(drawing, tmp_path):
    ends = fuzz(drawing, DRAWING, tmp_path, DRAWING_LARGE, seed=1)
    assert ends["refused"] > DRAWING_LARGE // 3


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


PACKED_SMALL, PACKED_LARGE = 20, 300  # files


def fuzz_packed(tmp_path: Path, kind: str, count: int, seed: int) -> int:
    """Load damaged files of a kind that packs a model or its tokenizer; return how many were refused."""
    path = save_gguf(tmp_path / "whole.gguf") if kind == "gguf" else save_pieces(tmp_path / "whole")
    content, faults, refused = path.read_bytes() if kind == "gguf" else b"", [], 0
    for number in range(count):
        draw, place = random.Random(f"{kind}-{seed}-{number}"), tmp_path / f"{kind}-{number}"
        if kind == "gguf":
            place = place.with_suffix(".gguf")
            how = damage_gguf(place, content, draw)
        else:
            how = damage_pieces(shutil.copytree(path, place), draw)
        try:
            said = attempt(place, "causal")
            wrong = complaints(said, tmp_path) if said is not None else []
        except BaseException as fault:
            if isinstance(fault, KeyboardInterrupt | SystemExit):
                raise
            said, wrong = f"{type(fault).__name__}: {fault}", ["unforeseen"]
        refused += said is not None
        if wrong:
            faults.append(f"{number} {how}: {wrong}: {said[:400]}")
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    assert not faults, "\n".join([f"{len(faults)} of {count}:", *faults])
    return refused


@pytest.mark.parametrize("kind", ["gguf", "sentencepiece"])
def test_some_damaged_files_end_in_one_paragraph(tmp_path, kind):
    assert fuzz_packed(tmp_path, kind, PACKED_SMALL, seed=0) > PACKED_SMALL // 3


@pytest.mark.attack
@pytest.mark.parametrize("kind", ["gguf", "sentencepiece"])
def test_many_damaged_files_end_in_one_paragraph(tmp_path, kind):
    assert fuzz_packed(tmp_path, kind, PACKED_LARGE, seed=1) > PACKED_LARGE // 3


def test_the_files_load_as_they_are_or_say_what_to_install(tmp_path):
    assert attempt(save_gguf(tmp_path / "whole.gguf"), "causal") is None
    said = attempt(save_pieces(tmp_path / "whole"), "causal")
    if importlib.util.find_spec("sentencepiece"):
        assert said is None
    else:
        assert "as tokenizer.model alone" in said
        assert "pip install sentencepiece" in said


def test_a_gguf_file_that_finds_no_room_is_not_blamed(tmp_path, monkeypatch):
    path = save_gguf(tmp_path / "whole.gguf")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", full)
    said = attempt(path, "causal")
    assert f"whole.gguf could not be converted to safetensors in {tmp_path / 'cache'}: the disk is full" in said
    assert said.endswith("; free some space, or write to another disk; FEDTAILOR_CACHE names another folder to write to")
    assert "another GGUF file" not in said
