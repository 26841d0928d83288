"""A backbone is pinned by all files that change what it does, by their content."""

import json
import os
import shutil

import pytest
import torch

from fedtailor.errors import ResumeError
from fedtailor.models import load_backbone
from fedtailor.models.cache import file_sha256
from fedtailor.models.locate import locate
from fedtailor.models.pins import PINNED, pins
from fedtailor.running.resume import check_same_parts


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDTAILOR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path, tiny_backbone_folder):
    return shutil.copytree(tiny_backbone_folder, tmp_path / "copy")


def change(path, key, value):
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, key: value}))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("config.json", "config"),
        ("tokenizer.json", "tokenizer"),
        ("special_tokens_map.json", "tokenizer"),
        ("tokenizer_config.json", "tokenizer_config"),
        ("generation_config.json", "generation_config"),
        ("added_tokens.json", "other_files"),
        ("adapter_config.json", "other_files"),
        ("chat_template.jinja", "chat_template"),
    ],
)
def test_each_file_that_counts_changes_its_part_alone(folder, name, part):
    place = locate(str(folder), folder)
    before = pins(place)
    assert set(before) == set(PINNED)
    if name.endswith(".jinja"):
        (folder / name).write_text("{{ messages }}")
    else:
        change(folder / name, "something", 1)
    after = pins(place)
    assert {key for key in before if before[key] != after[key]} == {part}
    (folder / "README.md").write_text("of no effect")
    assert pins(place) == after


def test_a_run_reads_every_byte_and_a_look_may_trust_times(folder, monkeypatch):
    """A file that was changed behind its size and times: found by a run, not by a look; its inode and ctime cannot be set back, so they are feigned."""
    path = folder / "model.safetensors"
    before = file_sha256(path)
    state = os.stat(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert file_sha256(path) != before  # ctime tells
    note = next((folder.parent / "cache" / "hashes").glob("*.json"))
    noted = json.loads(note.read_text())
    note.write_text(json.dumps({**noted, "sha256": before}))
    assert file_sha256(path) == before
    assert file_sha256(path, trust_times=False) != before
    note.write_text(json.dumps({**noted, "sha256": before}))

    def loaded(**more):
        return load_backbone(str(folder), device=torch.device("cpu"), base=folder, seed=0, **more).hashes["weights"]

    assert loaded(trust_times=True) == before
    assert loaded() != before


def test_what_earlier_versions_did_not_note_is_not_asked_for(tmp_path):
    now = {"backbone": {"weights": "a", "tokenizer": "b", "config": "c"}, "own_backbones": {"x": {"weights": "d", "config": "e"}}}
    then = {"backbone": {"weights": "a", "tokenizer": "b"}, "own_backbones": {"x": {"weights": "d"}}}
    file = tmp_path / "environment.json"
    file.write_text(json.dumps(then))
    check_same_parts(now, tmp_path)
    file.write_text(json.dumps({**now, "backbone": {**now["backbone"], "config": "z"}}))
    with pytest.raises(
        ResumeError, match="another backbone config: SHA-256 z, now c; put the backbone's files back as they were"
    ):
        check_same_parts(now, tmp_path)
