"""Holds where files are written: what writes elsewhere than through `storage` may leave half a file when the disk is full or the power goes."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fedtailor

ROOT = Path(fedtailor.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# Who writes by other means than `storage.write_text`, `storage.write_bytes` and `user_cache.keep_private`, and why nothing is left half done.
ROOMS = {
    "storage.py user_cache.py": "the means themselves",
    "running/folder.py running/folder_files.py learning/store.py": "files of a run: beside, synced, put in place; events line by line",
    "network/kit/site_file.py retrieval/collection_file.py": "beside, synced, put in place",
    "tuning personalization/pairs/pair.py models/plain.py models/shapes.py": "into a folder that the caller makes and puts in place",
    "export": "into a folder that is put in place, or removed, as a whole",
    "studies/pretrain.py studies/prepared.py studies/prepared_tables.py models/convert.py": "into a folder that `models.cache.whole_folder` puts in place",
    "network/kit/kits.py": "a kit is a folder that is put in place as a whole",
    "retrieval/write.py retrieval/terms.py retrieval/work.py": "a version of an index, put in place as a whole; work that is taken up again",
    "network/site/receiver.py": "what arrives in pieces is counted and hashed before it gets its name",
    "network/command/job_folder.py models/faults.py": "into a temporary folder that nobody reads if it is not whole",
    "network/server/server.py": "a copy of a run beside the run",
    "running/now.py": "beside, put in place; a page reads it again a second later",
    "network/command/site_processes.py": "logs, and a folder of the engine that is made again at each start",
    "running/engine.py network/site/site.py network/site/model_keeper.py network/command/processes.py retrieval/allows.py": "logs, line by line",
    "cli/advise.py": "into memory, from where `write_bytes` takes it",
    "running/lock.py retrieval/update.py": "locks, which hold nothing",
    "cli/main.py ledger.py network/sandbox/landlock.py": "devices of the system, and paths that are opened to be named",
}
PLACES = [place for places in ROOMS for place in places.split()]

METHODS = {
    "write_text", "write_bytes", "to_parquet", "to_csv", "to_excel", "to_feather", "to_pickle", "savefig", "save_pretrained", "touch",
    "symlink_to", "hardlink_to",
}  # fmt: skip
FUNCTIONS = {
    "save_file", "serialize_file", "copyfile", "copytree", "copy2", "move", "NamedTemporaryFile", "mkstemp", "np.save", "np.savez",
    "torch.save", "write_table", "ParquetWriter",
}  # fmt: skip
LIBRARIES = {"shutil", "tempfile", "safetensors.torch", "pyarrow.parquet", "pq", "writer"}
OURS = {"self", "folder", "home"}  # what `x.write_text` may be called on: a RunFolder


def writes(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of every call that opens a file for writing, or has a library do so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_write(node):
            yield node.lineno, ast.unparse(node.func)


def _is_write(node: ast.Call) -> bool:
    name = ast.unparse(node.func)
    on, _, last = name.rpartition(".")
    if name == "os.open":
        return "O_RDONLY" not in ast.unparse(node)
    if last == "open":
        return any(set(mode) & set("wax+") for mode in _modes(node, method=bool(on)))
    if isinstance(node.func, ast.Attribute) and last in METHODS:
        return on not in OURS and not _in_memory(node, last)
    return name in FUNCTIONS or (last in FUNCTIONS and on in LIBRARIES)


def _modes(node: ast.Call, *, method: bool) -> Iterator[str]:
    """Yield what may be the mode of a call of `open`: of a path, the first argument; of a file's name, the second."""
    given = [*node.args[0 if method else 1 :], *(word.value for word in node.keywords if word.arg == "mode")]
    for part in given[:1] if not any(word.arg == "mode" for word in node.keywords) else given:
        yield from (
            one.value
            for one in ast.walk(part)
            if isinstance(one, ast.Constant) and isinstance(one.value, str) and len(one.value) < 4
        )


def _in_memory(node: ast.Call, last: str) -> bool:
    """Return whether a call gives a text in place of a file, or writes into memory."""
    return (last == "to_csv" and not node.args) or (last == "savefig" and any(word.arg == "format" for word in node.keywords))


def allowed(file: Path) -> bool:
    place = file.relative_to(ROOT).as_posix()
    return any(place == one or place.startswith(f"{one}/") for one in PLACES)


def test_files_are_written_where_none_is_left_half_done():
    found = [
        f"{file.relative_to(ROOT)}:{line} calls {name}"
        for file in FILES
        if not allowed(file)
        for line, name in writes(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == [], "write it with storage.write_text or write_bytes, or say in ROOMS why nothing is left half done"


def test_every_room_that_is_named_writes():
    quiet = [
        place
        for place in PLACES
        if not any(
            True
            for file in FILES
            if (where := file.relative_to(ROOT).as_posix()) == place or where.startswith(f"{place}/")
            for _ in writes(ast.parse(file.read_text(encoding="utf-8")))
        )
    ]
    assert quiet == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("open(path, 'w')", True),
        ("open(path)", False),
        ("open(path, 'rb')", False),
        ("path.open('ab' if more else 'wb')", True),
        ("path.open(mode='x')", True),
        ("path.open(encoding='utf-8')", False),
        ("path.write_text('x')", True),
        ("(folder / NAME).write_bytes(b'x')", True),
        ("write_text(path, 'x')", False),  # storage's
        ("table.to_csv(index=False)", False),
        ("table.to_csv(path)", True),
        ("figure.savefig(memory, format='svg')", False),
        ("figure.savefig(path)", True),
        ("os.open(path, os.O_WRONLY | os.O_CREAT)", True),
        ("os.open(folder, os.O_RDONLY)", False),
        ("shutil.copyfile(a, b)", True),
        ("np.save(path, x)", True),
        ("image.save(memory, format='PNG')", False),
    ],
)
def test_writes_are_found(code, found):
    assert bool(list(writes(ast.parse(code)))) is found
