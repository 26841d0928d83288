"""Looks for private text and for paths of a site in all that leaves it, and in all that the server keeps, also after faults at the site.

A server and two sites in processes of their own, mutual TLS on loopback, a tiny job of each protocol. Every row of the sites holds a word that
stands nowhere else; their kits and data lie under folders with such names. During a job of averaging a site's folder is made unusable (its process then
fails with a text that names a path); a last job fails while the site reads a label that holds the word.
Looked through for these words, and for the token ids of the private one:

- what both ends hand to the engine and get from it, recorded by subclasses of the two job classes (`wire_parts`), which the product has not
- what passes a relay between the server and a site: bytes of TLS
- every file in the kits of server and administrator, and in the run folders that arrived, tables and archives unpacked

Usage: net_wire.py [--protocols averaging distillation split]. About 3 minutes.
"""

import argparse
import io
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from netting import PROTOCOLS, SITES, adapter, tiny_job, write_rows
from relay import through
from timing import write

from fedtailor import Job
from fedtailor.errors import FedtailorError
from fedtailor.network.command.submit import run_on
from fedtailor.network.command.world import World, make_world, running
from fedtailor.network.kit import engine_settings
from fedtailor.network.kit.engine_settings import SERVER
from fedtailor.network.kit.network_file import ADMIN

WORD, PLACE = "Zanzibarquux", "innermost-5d2b"  # in every row; in every path of a site
BAD = SITES[0]


def main() -> None:
    """Run, look, and exit with 1 if anything is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="net-wire-") as place:
        found = look(args.protocols, Path(place).resolve())
    write("net_wire", found)
    sys.exit(bool(found["found"]))


def look(protocols: list[str], folder: Path) -> dict[str, Any]:
    """Return what was looked through, and where one of the words was."""
    os.environ |= {"WIRE_RECORD": str(folder / "record"), "OMP_NUM_THREADS": "1"}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    engine_settings.OURS.update({engine_settings.SERVER: "wire_parts.RecordedServerEnd", "site": "wire_parts.RecordedSiteEnd"})
    (folder / "record").mkdir()
    jobs = [private_job(folder, protocol) for protocol in protocols]
    world = make_world(jobs[0], folder / "net")
    for site in SITES:
        move_away(world.folder / site, folder / PLACE / site)
    ended = {}
    with through(world.folder / BAD, capture=folder / "capture"), running(world):
        for job in jobs:
            ended[job.name] = carry_out(job, world, folder / f"run-{job.name}")
        data = folder / PLACE / BAD / "data.jsonl"
        write_rows(data, [{"input": f"row {number}", "target": f"{WORD} {number}"} for number in range(16)])
        labels = {"kind": "classification", "labels": ["yes", "no"]}
        plain = {"protocol": {"kind": "averaging"}, "personalization": {"kind": "none"}}
        refused = Job.from_dict({**jobs[0].to_dict(), "base": str(folder), "task": labels, **plain})
        ended["a label that is none"] = carry_out(with_columns(refused, world), world, folder / "run-refused")
    words = [WORD.encode(), PLACE.encode(), token_ids(folder / "tiny-llama")]
    places = [folder / "record", folder / "capture", world.folder / SERVER, world.folder / ADMIN, *folder.glob("run-*")]
    files = sorted(file for path in places for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    site = b"".join(file.read_bytes() for file in (folder / PLACE / BAD).rglob("*") if file.is_file())
    logs = b"".join(file.read_bytes() for file in (folder / PLACE / BAD).glob("runs/*/log.txt"))
    if not all(word in site for word in words[:2]) or not (folder / "capture").stat().st_size:
        raise SystemExit("the site's own files do not hold the words, or nothing was captured: there was nothing to find")
    return {
        "runs": ended,
        "in the site's own logs": [word.decode() for word in words[:2] if word in logs],
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        "captured bytes": (folder / "capture").stat().st_size,
        "records": {path.name: len(path.read_text().splitlines()) for path in sorted((folder / "record").iterdir())},
        "found": [hit for file in files for hit in hits(str(file.relative_to(folder)), file.read_bytes(), words)],
    }


def hits(name: str, data: bytes, words: list[bytes]) -> Iterator[str]:
    """Yield where one of the words stands in a file, also in a table, or in a file of an archive."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for inner in archive.namelist():
                yield from hits(f"{name}/{inner}", archive.read(inner), words)
    text = pd.read_parquet(io.BytesIO(data)).to_csv().encode() if name.endswith(".parquet") else b""
    yield from (f"{name}: {word!r}" for word in words if word in data or word in text)


def private_job(folder: Path, protocol: str) -> Job:
    """Return a job whose sites' rows all hold the word; it is in no public row."""
    job = tiny_job(folder, protocol, rounds=3, steps=4)
    for site in SITES:
        path = folder / f"{site}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        write_rows(path, [{**row, "input": f"{row['input']} {WORD}", "target": f"{row['target']} {WORD}"} for row in rows])
    return job


def move_away(kit: Path, to: Path) -> None:
    """Let a kit lie under a folder with a name that is searched for."""
    to.parent.mkdir(exist_ok=True)
    kit.rename(to)
    kit.symlink_to(to)
    file = to / "local" / "fedtailor.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "data": [str(to / "data.jsonl")]}))


def with_columns(job: Job, world: World) -> Job:
    """Let the sites read the target as a label, and return the job."""
    for site in SITES:
        file = world.folder / site / "local" / "fedtailor.json"
        told = json.loads(file.read_text())
        file.write_text(json.dumps({**told, "columns": {"text": "input", "label": "target"}}))
    return job


def carry_out(job: Job, world: World, out: Path) -> str:
    """Run a job, with faults at a site if it is one of averaging; return how it ended."""
    failures: list[str] = []
    in_the_way: list[Path] = []

    def watch(kind: str, facts: Mapping[str, Any]) -> None:
        if kind == "failure":
            failures.append(f"{facts['client']} in round {facts['round']}: {facts['text']}")
        if kind == "evaluated" and facts["round"] == 0 and "averaging" in job.name:
            for kept in (world.folder / BAD).resolve().glob(f"runs/*/{BAD}"):  # its process cannot keep what it has after round 1
                shutil.rmtree(kept)
                kept.write_text("in the way")
                in_the_way.append(kept)
        if kind == "round" and in_the_way:
            in_the_way.pop().unlink()

    try:
        run_on(job, world.folder, out=out, watcher=watch)
    except FedtailorError as fault:
        return f"{type(fault).__name__}: {fault}"
    return f"ended with {len(adapter(out))} tensors; {'; '.join(failures) or 'no failure'}"


def token_ids(backbone: Path) -> bytes:
    """Return the word's token ids as they would stand in a record."""
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(backbone)(WORD)["input_ids"][1:]  # the first one depends on what stands before the word
    return json.dumps(ids)[1:-1].encode()


if __name__ == "__main__":
    main()
