"""Hold two commits against each other: the same tiny jobs, their losses, weights, manifests, bytes and columns.

Usage: same_results.py BEFORE [AFTER] [--only NAME ...] [--network]. BEFORE and AFTER are commits; without AFTER, the files as they are now.
Each side runs in a process of its own, on the same tiny backbones and rows. Prints a line a job, and what differs; exits 1 if anything does. Bytes that differ are printed each time;
they count only if they are more than the digits of seconds, which travel as text, can explain. A job that one side refuses, as it does not know it, is named and counts for nothing.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[1]
BYTES_ALIKE, FEW = 0.002, 16  # share, and bytes, by which sums of bytes may differ
REFUSED = "refused"  # the one part of a job that a side does not know: why
TABLES = ("rounds", "clients", "evaluations", "partition")
LOCAL = {"learning_rate": 0.02, "batch_size": 4, "steps": 2}
SGD = {**LOCAL, "optimizer": "sgd", "learning_rate": 0.1}
SECRET = {"count": 4, "min_examples": 4}  # as many as a secret sum takes
RANKS = {"client-01": {"tuning": {"rank": 1}}}


def averaging(**settings: Any) -> dict[str, Any]:
    """Return a job's protocol section."""
    return {"protocol": {"kind": "averaging", "local": LOCAL, **settings}}


def personal(**settings: Any) -> dict[str, Any]:
    """Return a job's personalization, measured by losses."""
    return {"personalization": settings, "evaluation": {"local_only": True, "metrics": ["loss"]}}


def tuned(**settings: Any) -> dict[str, Any]:
    """Return a job's tuning section."""
    return {"tuning": settings}


DISTILLING = {
    "kind": "distillation",
    "public": "rest",
    "local": LOCAL,
    "align": LOCAL | {"batch_size": 8},
    "distil": LOCAL | {"batch_size": 8},
}
OWN = {"client-01": {"backbone": "wide"}}
CUTS = {"client-00": {"protocol": {"cut": 1}}, "client-02": {"protocol": {"cut": 3}}}
CLASSES = {"model": "bert", "rows": "classes", "task": {"kind": "classification"}}
ABSENT = {"tuning": None, "evaluation": None, "stop": None}  # left to the protocol
SEARCH = {
    "kind": "search",
    "pool": ["", "Name the kind.", "Where is it? Name the place."],
    "keep": 2,
    "children": 2,
    "generations": 2,
    "start": 4,
}
PLACES = {"task": {"kind": "label-likelihood", "labels": ["river_place", "town"], "max_tokens": 40}, "rows": "places"}
JOBS: Mapping[str, Mapping[str, Any]] = {  # changes to `BASE`; `model`: another than "llama"; `rows`: others than texts
    "lora": {},
    "lora-classes": CLASSES,
    "head": {**CLASSES, **tuned(kind="head")},
    "fed-sb": tuned(kind="fed-sb", rank=2, alpha=2),
    "full": tuned(kind="full"),
    "adapter": tuned(kind="adapter", width=4),
    "prefix": tuned(kind="prefix", length=2, hidden=8),
    "prompt": tuned(kind="prompt", length=2),
    "ia3": tuned(kind="peft", type="IA3"),
    "fedadam": averaging(aggregation={"kind": "fedadam"}),
    "scaffold": averaging(aggregation={"kind": "scaffold"}, local=SGD),
    "flora-of-ranks": {**averaging(aggregation={"kind": "flora"}), "tuning": {"kind": "lora", "rank": 2, "alpha": 2}, "clients": {"count": 4, "min_examples": 4, "overrides": RANKS}},
    "sampled": {"clients": {"count": 4, "min_examples": 4, "per_round": 2}},
    "finetune": personal(kind="finetune", steps=2, learning_rate=0.02),
    "fedper": personal(kind="fedper", home=["*.layers.1.*"]),
    "fedrep": personal(kind="fedrep", home=["lora_B"], home_steps=1),
    "fedsa-lora": personal(kind="fedsa-lora"),
    "ditto": personal(kind="ditto", pull=0.5),
    "feddpa": personal(kind="feddpa", steps=2),
    "fedalt": personal(kind="fedalt"),
    "distillation": {"protocol": DISTILLING, "data": {"train": "given", "limit": {"train": 32}}},
    "distillation-of-classes": {**CLASSES, "protocol": DISTILLING, "data": {"train": "given", "limit": {"train": 32}}},
    "own-backbone": {**CLASSES, "protocol": DISTILLING, "data": {"train": "given", "limit": {"train": 32}}, "clients": {"count": 3, "min_examples": 4, "overrides": OWN}},
    "split": {"protocol": {"kind": "split", "cut": 1, "local": LOCAL}},
    "split-labels-int8": {"protocol": {"kind": "split", "cut": 1, "labels": "with-server", "wire": {"kind": "int8"}, "local": LOCAL}},
    "split-in-turn": {"protocol": {"kind": "split", "cut": 1, "server": "sequential", "local": LOCAL}},
    "split-pipelined": {"protocol": {"kind": "split", "cut": 1, "labels": "with-server", "pipeline": "weight-stashing", "local": LOCAL}},
    "split-reuse": {"protocol": {"kind": "split", "cut": 1, "reuse": True, "local": LOCAL}, "tuning": {"kind": "lora", "rank": 2, "alpha": 4, "targets": ["layers.1.self_attn.q_proj"]}},
    "split-own-cuts": {"model": "deep", "protocol": {"kind": "split", "cut": 2, "local": LOCAL}, "clients": {"count": 3, "min_examples": 4, "overrides": CUTS}},
    "prompting": {**PLACES, "protocol": {"kind": "prompting", "method": SEARCH, "few": 2}, **ABSENT, "clients": {"count": 3, "min_examples": 4, "validation_share": 0.3, "test_share": 0.2}},
    "retrieval": {"model": "bert", "rows": "documents", "task": {"kind": "question-answering"}, "protocol": {"kind": "retrieval", "top_k": 2}, **ABSENT, "clients": {"count": 3, "partition": {"kind": "natural", "by": "title"}}},
    "dp": {"protection": [{"kind": "dp", "epsilon": None, "noise_multiplier": 0.5, "clip": 0.5}], "clients": SECRET},
    "dp-in-shares-secure": {"protection": [{"kind": "dp", "epsilon": None, "noise_multiplier": 0.5, "clip": 0.5, "noise": "shares"}, "secure-aggregation"], "clients": SECRET},
    "codec": {"protection": [{"kind": "codec", "code": "sign"}]},
    "secure": {"protection": ["secure-aggregation"], "clients": SECRET},
    "resumed": {"stop": {"rounds": 3, "patience": None}},
}  # fmt: skip
BASE: Mapping[str, Any] = {
    "name": "tiny",
    "task": {"kind": "generation"},
    "data": {"train": "given"},
    "clients": {"count": 3, "min_examples": 4},
    "tuning": {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.1},
    **averaging(),
    "evaluation": {"generate": {"max_new_tokens": 3}},
    "stop": {"rounds": 2, "patience": None},
    "precision": "float32",
    "threads": 1,
}


def main() -> None:
    """Run both sides and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before")
    parser.add_argument("after", nargs="?")
    parser.add_argument("--only", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument(
        "--network", action="store_true", help="also one job on a network of this machine (about two minutes a side)"
    )
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        carry_out(args.run, args.only, network=args.network)
        return
    with tempfile.TemporaryDirectory() as folder:
        sides = []
        for name, commit in (("before", args.before), ("after", args.after)):
            with checkout(commit, Path(folder) / f"{name}-source") as source:
                sides.append(found_at(source, Path(folder) / name, args.only, network=args.network))
    sys.exit(compare(*sides))


@contextmanager
def checkout(commit: str | None, folder: Path) -> Iterator[Path]:
    """Yield a folder with the files of a commit; this one if there is none."""
    if commit is None:
        yield ROOT
        return
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def found_at(source: Path, out: Path, names: list[str], *, network: bool) -> dict[str, Any]:
    """Return what the jobs come to with the package in `source`."""
    env = os.environ | {"PYTHONPATH": str(source / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, __file__, "-", "--run", str(out), "--only", *names, *(["--network"] if network else [])]
    subprocess.run(command, env=env, check=True)
    found: dict[str, Any] = json.loads((out / "found.json").read_text())
    return found


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """Print a line a job; return 1 if anything differs, else 0."""
    differing = 0
    for name in union(before, after):
        sides = before.get(name, {}), after.get(name, {})
        if refused := [
            f"{side}: {found[REFUSED]}" for side, found in zip(("before", "after"), sides, strict=True) if REFUSED in found
        ]:
            print(f"{name:24} not compared, refused {'; '.join(refused)}"[:300])
            differing += REFUSED not in sides[0]  # what was possible before is not any more
            continue
        both = {part: (sides[0].get(part), sides[1].get(part)) for part in union(*sides)}
        parts = [part for part, (one, other) in both.items() if not alike(part, one, other)]
        differing += bool(parts)
        print(f"{name:24} {'same' if not parts else 'differs in ' + ', '.join(parts)}")
        for part in parts:
            one, other = both[part]
            print(f"    {part} before: {brief(one, other)}")
            print(f"    {part} after:  {brief(other, one)}")
        if "traffic" not in parts:
            for path, one, other in differences(*both["traffic"]):
                print(f"    {path}: {one:,} bytes before, {other:,} after")
    return int(differing > 0)


def union(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the keys of both, in their order."""
    return list(dict.fromkeys([*one, *other]))


def differences(one: Any, other: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield path and both values of all that differs in two mappings, however deep."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in union(one, other):
            yield from differences(one.get(key), other.get(key), f"{path}.{key}" if path else key)
    elif one != other:
        yield path, one, other


def alike(part: str, one: Any, other: Any) -> bool:
    """Return whether two sides agree: to the bit, but for bytes, since seconds travel as text of more or fewer digits."""
    if part == "traffic" and isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(alike(part, one[key], other[key]) for key in one)
    if part == "traffic" and isinstance(one, int) and isinstance(other, int):
        return abs(one - other) <= max(FEW, BYTES_ALIKE * max(one, other))
    return bool(one == other)


def brief(one: Any, other: Any) -> str:
    """Return what `one` has that `other` has not, where both are mappings, however deep, else `one`, at most 300 characters."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        one = dict(only_in(one, other))
    elif isinstance(one, list) and isinstance(other, list) and all(isinstance(part, str) for part in one):
        one = [part for part in one if part not in other] or one
    return str(one)[:300]


def only_in(one: Mapping[str, Any], other: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what stands in one mapping and not in the other, by dotted path."""
    for key, value in one.items():
        there = other.get(key)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            yield from only_in(value, there, f"{path}{key}.")
        elif key not in other or there != value:
            yield f"{path}{key}", value


def carry_out(out: Path, names: list[str], *, network: bool) -> None:
    """Run the jobs with the package that is imported, and write what they come to."""
    sys.path.insert(0, str(ROOT / "tests"))
    backbones, rows = save_backbones(out), all_rows()
    found = {name: measured(name, JOBS[name], backbones, rows, out / name) for name in names}
    if network:
        found["network"] = on_a_network(backbones, rows["texts"], out / "network")
    (out / "found.json").write_text(json.dumps(found))


def all_rows() -> dict[str, Any]:
    """Return the data of all jobs, by the name that a job calls them."""
    from asked import documents
    from jobs import tiny_rows
    from prompted import place_rows

    texts = tiny_rows()
    classes = [{"text": row["target"], "label": row["food"]} for row in texts]
    return {"texts": texts, "classes": classes, "places": place_rows(), "documents": documents()}


def save_backbones(out: Path) -> dict[str, Path]:
    """Write random Llamas of two and of four blocks, and random BERTs of two widths; return their folders."""
    from conftest import save_tiny
    from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

    def llama(blocks: int) -> Callable[[dict[str, Any]], Any]:
        shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": blocks, "num_attention_heads": 2}
        shape |= {"num_key_value_heads": 1, "max_position_embeddings": 256}
        return lambda ids: LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True, **ids))

    def bert(width: int) -> Callable[[dict[str, Any]], Any]:
        shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 2}
        shape |= {"max_position_embeddings": 256}
        return lambda ids: BertModel(BertConfig(**shape, vocab_size=ids["vocab_size"], pad_token_id=ids["pad_token_id"]))

    models = {"llama": llama(2), "deep": llama(4), "bert": bert(16), "wide": bert(24)}
    return {name: save_tiny(out / name, make) for name, make in models.items()}


def job_of(changes: Mapping[str, Any], backbones: Mapping[str, Path]) -> Any:
    """Return the job that `changes` make of `BASE`."""
    from fedtailor import Job

    settings = {**BASE, "model": "llama", "rows": "texts", **changes}
    backbone = backbones[settings.pop("model")]
    del settings["rows"]
    settings = json.loads(json.dumps({name: value for name, value in settings.items() if value is not None}))
    for own in settings["clients"].get("overrides", {}).values():
        if "backbone" in own:
            own["backbone"] = str(backbones[own["backbone"]])
    return Job.from_dict({**settings, "backbone": str(backbone)})


def measured(
    name: str, changes: Mapping[str, Any], backbones: Mapping[str, Path], rows: Mapping[str, Any], out: Path
) -> dict[str, Any]:
    """Return what one job comes to."""
    from fedtailor import run
    from fedtailor.errors import SettingError

    data = rows[changes.get("rows", "texts")]
    try:
        job = job_of(changes, backbones)
    except SettingError as fault:
        return {REFUSED: str(fault)}
    if name == "resumed":
        run(job_of({**changes, "stop": {"rounds": 1, "patience": None}}, backbones), data=data, out=out)
        run(job, data=data, resume=out)
    else:
        secret = random.Random(0)  # what protections draw, the same on both sides
        with mock.patch("os.urandom", secret.randbytes):
            run(job, data=data, out=out)
    return read(out)


def read(folder: Path) -> dict[str, Any]:
    """Return what is compared of a run folder."""
    import pandas as pd

    summary = json.loads((folder / "summary.json").read_text())
    tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES if (folder / f"{name}.parquet").exists()}
    rounds = tables.get("rounds", pd.DataFrame())
    patterns = ("adapter/*.safetensors", "model/*.safetensors", "prompt/*", "clients/*/**/*.safetensors")
    files = [file for pattern in patterns for file in folder.glob(pattern)]
    weights = {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return {
        "losses": {
            name: [None if pd.isna(value) else float(value) for value in rounds[name]]
            for name in rounds.columns
            if name.endswith("loss")
        },
        "weights": dict(sorted(weights.items())),
        "metrics": summary.get("metrics"),
        "found": summary.get("prompting"),
        "manifest": json.loads((folder / "manifest.json").read_text()),
        "traffic": {key: value for key, value in summary["traffic"].items() if "second" not in key},
        **{f"columns of {name}": list(table.columns) for name, table in tables.items()},
    }


def on_a_network(backbones: Mapping[str, Path], rows: list[dict[str, str]], out: Path) -> dict[str, Any]:
    """Return what `net try` makes of a job on a server and two sites of this machine."""
    out.mkdir(parents=True)
    (out / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = job_of({"data": {"train": str(out / "train.jsonl")}, "clients": {"count": 2, "min_examples": 4}}, backbones)
    (out / "job.yaml").write_text(job.to_yaml())
    command = [sys.executable, "-m", "fedtailor.cli", "net", "try", str(out / "job.yaml"), "--out", str(out / "run")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=out)
    return read(out / "run")


if __name__ == "__main__":
    main()
