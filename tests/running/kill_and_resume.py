"""Runs a tiny job in children that are killed at random moments, resumes each, and compares with the unbroken run.

Usage: kill_and_resume.py BACKBONE FOLDER KILLS SEED. Children are forked after the imports, so that a try takes a second, not ten.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import transformers.models.llama.modeling_llama  # noqa: F401  so that children need not
from jobs import tiny_job, tiny_rows

import fedtailor.assemble  # noqa: F401  likewise
from fedtailor.running import run


def start(job, folder: Path, resume: bool) -> int:
    """Fork a child that runs the job; return its process id."""
    child = os.fork()
    if child == 0:
        where = {"resume": folder} if resume else {"out": folder}
        run(job, data=tiny_rows(), **where)
        os._exit(0)
    return child


def finish(child: int) -> int:
    """Wait for a child and return how it ended: 0, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Compare, print a line for each kill, and exit with 1 at the first difference."""
    backbone, home, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    job = tiny_job(backbone, stop__rounds=6, protocol__local__keep_optimizer=True, clients__fraction=0.5)
    began = time.monotonic()
    assert finish(start(job, home / "whole", False)) == 0
    usual = time.monotonic() - began
    want = (home / "whole" / "adapter" / "adapter_model.safetensors").read_bytes()
    draw = random.Random(seed)
    for number in range(kills):
        folder = home / f"killed-{number}"
        child = start(job, folder, False)
        moment = draw.uniform(0.05, 1.0) * usual
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        ended = finish(child)
        begun = (folder / "job.yaml").exists()
        saved = sorted(path.name for path in (folder / "checkpoint").glob("[0-9]*"))
        assert finish(start(job, folder, begun)) == 0
        same = (folder / "adapter" / "adapter_model.safetensors").read_bytes() == want
        print(
            f"kill {number} after {moment:.2f} s of {usual:.2f} s (ended {ended}, checkpoints {saved}): {'same' if same else 'DIFFERS'}",
            flush=True,
        )
        if not same:
            sys.exit(1)


main()
