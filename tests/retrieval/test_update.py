"""An index's life: made, updated by what changed, killed at each line, damaged, locked."""

import json
import os
import shutil
import sys

import numpy as np
import pytest
from embedders import Hashed, source

from fedtailor.errors import DataError, SettingError
from fedtailor.retrieval import update, work, write
from fedtailor.retrieval.index import open_index
from fedtailor.retrieval.passages import Chunks
from fedtailor.retrieval.update import update_index

BEFORE = [source("a", "tea is hot"), source("b", "milk is white"), source("c", "bread is old")]
AFTER = [source("a", "tea is hot"), source("b", "milk is sour now"), source("d", "salt is dear")]


def held(folder):
    """Return what an index holds: text by id, checked against vectors and words."""
    index = open_index(folder)
    passages = index.rows(range(index.size))
    again = Hashed().embed([one.text for one in passages])
    np.testing.assert_array_equal(index.vectors, again)
    for row, one in enumerate(passages):
        assert index.terms.scores(one.text)[row] > 0
    return {one.id: one.text for one in passages}


def test_made_and_updated(tmp_path):
    embedder = Hashed()
    made = update_index(tmp_path / "i", BEFORE, embedder)
    assert (made.passages, made.documents, made.embedded, list(made.added), made.unchanged) == (3, 3, 3, ["a", "b", "c"], 0)
    embedder.embedded.clear()
    done = update_index(tmp_path / "i", AFTER, embedder)
    assert (list(done.added), list(done.changed), list(done.removed), done.unchanged) == (["d"], ["b"], ["c"], 1)
    assert sorted(embedder.embedded) == ["milk is sour now", "salt is dear"]
    assert held(tmp_path / "i") == {"a#0": "tea is hot", "b#0": "milk is sour now", "d#0": "salt is dear"}
    assert sorted(path.name for path in (tmp_path / "i").iterdir()) == ["current.json", "lock", "v000002"]


def test_only_changed_passages_are_embedded(tmp_path):
    first, second, other = (" ".join(f"{word}{n}" for n in range(8)) + "." for word in "abc")
    embedder, chunks = Hashed(), Chunks(tokens=8, overlap=0)
    update_index(tmp_path / "i", [source("a", f"{first} {second}")], embedder, chunks)
    embedder.embedded.clear()
    done = update_index(tmp_path / "i", [source("a", f"{first} {other}")], embedder, chunks)
    assert (done.passages, done.embedded, embedder.embedded) == (2, 1, [other])


def test_nothing_new_writes_nothing(tmp_path):
    update_index(tmp_path / "i", BEFORE, Hashed())
    state = (tmp_path / "i" / "v000001" / "vectors.npy").stat().st_mtime_ns
    done = update_index(tmp_path / "i", BEFORE, Hashed())
    assert (done.embedded, done.unchanged, done.passages) == (0, 3, 3)
    assert (tmp_path / "i" / "v000001" / "vectors.npy").stat().st_mtime_ns == state


def test_twins_are_embedded_once_and_both_kept(tmp_path):
    embedder = Hashed()
    update_index(tmp_path / "i", [source("a", "tea  is hot"), source("b", "tea is hot")], embedder)
    assert embedder.embedded == ["tea is hot"]
    assert set(held(tmp_path / "i")) == {"a#0", "b#0"}


def test_nothing_at_all_is_an_index_too(tmp_path):
    assert update_index(tmp_path / "i", [], Hashed()).passages == 0
    assert held(tmp_path / "i") == {}
    update_index(tmp_path / "i", BEFORE, Hashed())
    update_index(tmp_path / "i", [], Hashed())
    assert held(tmp_path / "i") == {}


def test_notes_stay_until_the_file_changes(tmp_path):
    bad = source("bad", "", notes=["bad holds no text"])
    unreadable = source("gone", "x y", sha256="")
    strange = source("far", "早上 早安 ok")
    for _ in range(2):
        done = update_index(tmp_path / "i", [bad, unreadable, strange], Hashed())
        assert done.notes[0] == "bad holds no text"
        assert done.notes[1].startswith("far: hashed does not know 67% of its tokens")
    assert list(done.changed) == ["gone"]  # what could not be read is tried again each time


def killed_at(step, folder):
    """Return whether a process that updates was killed at a line of ours, the `step`th that it comes to."""
    if (child := os.fork()) == 0:
        files, seen = {update.__file__, write.__file__, work.__file__}, set()

        def trace(frame, event, _):
            if frame.f_code.co_filename not in files:
                return None
            seen.add((frame.f_code.co_filename, frame.f_lineno))
            if len(seen) == step:
                os._exit(9)
            return trace

        sys.settrace(trace)
        update_index(folder, AFTER, Hashed())
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.large)])
def test_killed_at_any_line(tmp_path, monkeypatch, stride):
    monkeypatch.setattr(os, "fsync", lambda file: None)  # it is processes that are killed, not the machine
    update_index(tmp_path / "old", BEFORE, Hashed())
    old = held(tmp_path / "old")
    update_index(tmp_path / "new", AFTER, Hashed())
    new = held(tmp_path / "new")
    answers, step = [], 1
    while True:
        folder = tmp_path / f"i{step}"
        shutil.copytree(tmp_path / "old", folder)
        if not killed_at(step, folder):
            break
        answers.append(held(folder))
        update_index(folder, AFTER, Hashed())
        assert held(folder) == new
        assert len(list(folder.iterdir())) == 3  # nothing is left behind
        step += stride
    assert all(found in (old, new) for found in answers)
    swap = answers.index(new)
    assert answers == [old] * swap + [new] * (len(answers) - swap)
    assert swap * stride > 60
    assert len(answers) > swap


def test_embedding_continues_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "BLOCK", 2)
    texts = [f"text number {n}" for n in range(7)]

    class Dies(Hashed):
        def embed(self, texts):
            if len(self.embedded) == 4:
                raise KeyboardInterrupt
            return super().embed(texts)

    with pytest.raises(KeyboardInterrupt):
        update_index(tmp_path / "i", [source("a", *texts)], Dies())
    with (tmp_path / "i" / "work" / "vectors").open("ab") as file:
        file.write(b"half a vec")  # as a kill in the middle of a write leaves it
    embedder = Hashed()
    done = update_index(tmp_path / "i", [source("a", *texts)], embedder)
    assert (done.passages, len(embedder.embedded)) == (7, 3)
    assert len(held(tmp_path / "i")) == 7


def test_what_another_embedder_left_is_not_used(tmp_path):
    place = tmp_path / "work"
    with work.Work(place, "one", 2) as kept:
        kept.keep([b"k" * 32], np.ones((1, 2), dtype=np.float32))
    with work.Work(place, "one", 2) as kept:
        assert {key: vector.tolist() for key, vector in kept.known().items()} == {b"k" * 32: [1, 1]}
    with work.Work(place, "other", 2) as kept:
        assert kept.known() == {}


def test_refused(tmp_path):
    folder = tmp_path / "i"
    update_index(folder, BEFORE, Hashed())
    with pytest.raises(SettingError, match=r"was made by hashed .* their vectors do not compare"):
        update_index(folder, BEFORE, Hashed("b"))
    with pytest.raises(SettingError, match=r"'tokens': 200.*'tokens': 90"):
        update_index(folder, BEFORE, Hashed(), Chunks(tokens=90))
    with update._locked(folder), pytest.raises(DataError, match="updated by another process"):
        update_index(folder, BEFORE, Hashed())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "new").write_text("x")
    with pytest.raises(DataError, match="holds other files and no index"):
        update_index(tmp_path / "mine", BEFORE, Hashed())
    with pytest.raises(DataError, match=r"no such file.*fedtailor rag index makes one"):
        open_index(tmp_path / "none")


@pytest.mark.parametrize(
    "name", ["vectors.npy", "passages.arrow", "keys.npy", "rows.npy", "words.txt", "files.json", "meta.json"]
)
@pytest.mark.parametrize("how", ["missing", "cut", "other"])
def test_damage_is_named(tmp_path, name, how):
    folder = tmp_path / "i"
    update_index(folder, BEFORE, Hashed())
    path = folder / "v000001" / name
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-3] if how == "cut" else b"\x80" * len(content))
    with pytest.raises(DataError, match=r"the index .*i is damaged: .*index again"):
        open_index(folder)


def test_another_format_is_refused(tmp_path):
    update_index(tmp_path / "i", BEFORE, Hashed())
    (tmp_path / "i" / "current.json").write_text(json.dumps({"format": 7, "version": "v000001"}))
    with pytest.raises(DataError, match="has format 7, and this fedtailor reads 1"):
        open_index(tmp_path / "i")
