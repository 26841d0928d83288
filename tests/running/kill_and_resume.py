"""Runs a tiny job in children that are killed at random moments, resumes each, and compares with the unbroken run.

Usage: kill_and_resume.py PROTOCOL BACKBONE FOLDER KILLS SEED. PROTOCOL is averaging, prompting, after (a phase of a user's own, personal weights and
training alone behind the rounds) or ranks (that the server chooses), which take a decoder (a Llama), distillation, split or questions (an embedder is
trained), which take an encoder (a BERT), or gan. Children are forked after the imports, so that a try takes a second, not ten.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd
import transformers.models.bert.modeling_bert  # so that children need not
import transformers.models.llama.modeling_llama  # noqa: F401
from denoisers import gan_job, picture_rows
from distilling import LEARN, class_data, class_job
from jobs import tiny_job, tiny_rows
from prompted import METHOD, place_rows, prompting_job
from questioned import pairs, training_job
from split_shapes import class_rows, split_job

import fedtailor.assembly.pipeline  # noqa: F401  likewise
from fedtailor.running import run

ROUNDS = 6
KEPT = {"protocol__local__keep_optimizer": True}
OF_TEXTS = {
    "after": {
        "stop__rounds": 2,  # so that most of the run lies behind the rounds
        "after": [{"kind": "phased:GapPhase", "times": 2.0}],
        "personalization": {"kind": "finetune", "epochs": 2},
        "evaluation__local_only": True,
    },
    "ranks": {
        "protocol__local__keep_optimizer": False,
        "tuning": {
            "kind": "lora",
            "rank": "auto",
            "ranks": [1, 2, 4],
            "alpha": 4,
            "round_seconds": 1e6,
        },  # no time of day decides
        "protocol__aggregation": {"kind": "flexlora"},
    },
}


def job_of(protocol: str, backbone: str):
    """Return a job that asks some of its clients a round and keeps what can be kept between rounds, and its rows."""
    if protocol == "distillation":
        local = LEARN | {"batch_size": 4, "keep_optimizer": True}
        kept = {"p_slice": 0.5, "p_wire": "int8", "p_label_counts": True, "p_local": local}
        return class_job(backbone, stop__rounds=ROUNDS, clients__fraction=0.67, **kept), class_data()
    if protocol == "split":
        changes = {"stop__rounds": ROUNDS, "clients__fraction": 0.67}
        local = {"learning_rate": 0.02, "optimizer": "adamw", "clip_norm": 1.0, "steps": 4}
        return split_job(backbone, "bert", changes=changes, local=local, cut=1, wire={"kind": "int4"}), class_rows()
    if protocol == "prompting":
        return prompting_job(backbone, protocol__method={**METHOD, "generations": 4}, clients__fraction=0.67), place_rows()
    if protocol == "questions":
        return training_job(backbone, stop__rounds=ROUNDS, clients__count=3, **KEPT, clients__fraction=0.67), pairs()
    if protocol == "gan":
        lasting = {"rounds": ROUNDS, "patience": None, "keep": "last"}
        return gan_job(backbone, stop=lasting, **KEPT, clients__fraction=0.67), picture_rows(8)
    return tiny_job(backbone, clients__fraction=0.5, **{"stop__rounds": ROUNDS} | KEPT | OF_TEXTS.get(protocol, {})), tiny_rows()


def start(job, rows, folder: Path, resume: bool) -> int:
    """Fork a child that runs the job; return its process id."""
    child = os.fork()
    if child == 0:
        where = {"resume": folder} if resume else {"out": folder}
        run(job, data=rows, **where)
        os._exit(0)
    return child


def finish(child: int) -> int:
    """Wait for a child and return how it ended: 0, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outcome(folder: Path) -> dict[str, object]:
    """Return the bytes of every file of tensors (result, checkpoints, what clients keep), and the figures of the run."""
    summary = json.loads((folder / "summary.json").read_text())
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}
    files["found"] = summary.get("prompting")
    files["ranks"] = [str(row.get("rank")) for row in pd.read_parquet(folder / "clients.parquet").to_dict("records")]
    own = {name: value for name, value in summary.get("distillation", {}).items() if "seconds" not in name}
    files["personal"] = {name: value for name, value in summary.get("personal", {}).items() if name != "local_cost"}
    return files | {name: summary.get(name) for name in ("metrics", "clients", "validation_loss", "after")} | {"own": own}


def main() -> None:
    """Compare, print a line for each kill, and exit with 1 at the first difference."""
    protocol, backbone, home, kills, seed = *sys.argv[1:3], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    job, rows = job_of(protocol, backbone)
    began = time.monotonic()
    assert finish(start(job, rows, home / "whole", False)) == 0
    usual = time.monotonic() - began
    want = outcome(home / "whole")
    draw = random.Random(seed)
    for number in range(kills):
        folder = home / f"killed-{number}"
        child = start(job, rows, folder, False)
        moment = draw.uniform(0.05, 1.0) * usual
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        ended = finish(child)
        begun = (folder / "job.yaml").exists()
        saved = sorted(path.name for path in (folder / "checkpoint").glob("[0-9]*"))
        assert finish(start(job, rows, folder, begun)) == 0
        found = outcome(folder)
        wrong = sorted(name for name in want.keys() | found.keys() if want.get(name) != found.get(name))
        print(
            f"kill {number} after {moment:.2f} s of {usual:.2f} s (ended {ended}, checkpoints {saved}): "
            + (f"DIFFERS: {', '.join(wrong)}" if wrong else f"same, {len(want)} files and figures"),
            flush=True,
        )
        if wrong:
            sys.exit(1)


main()
