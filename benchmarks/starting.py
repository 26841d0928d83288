"""How long commands take before they do what they are for: this version and another, turn by turn.

Usage: starting.py OTHER_SOURCE JOB RUN [--net NET] [--times N]. OTHER_SOURCE is the src folder of another version, JOB a job file, RUN the folder
of a finished run that both versions can read, NET a folder of net init. Seconds are those of the processor (user and system), which other
work on the machine changes least; the ratio is of the medians.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

COMMAND = "import sys; from fedtailor.cli import main; main(sys.argv[1:])"
UNTIL_IT_CONNECTS = """
import os, sys
from fedtailor.cli import main
try:
    import fedtailor.network.kit.kits as kits
except ModuleNotFoundError:  # 540d97f
    import fedtailor.network.kits as kits
role = kits.kit_role
def and_the_server(kit):
    found = role(kit)
    from fedtailor.federation.nvflare.administration import ServerSession
    ServerSession.__init__ = lambda self, *rest: os._exit(0)
    return found
kits.kit_role = and_the_server
main(["net", "status", sys.argv[1]])
"""
FIRST_STEP = """
import os, sys, tempfile
from pathlib import Path
from fedtailor.cli import main, progress
event = progress.Watcher.__call__
def watch(watcher, kind, facts):
    if kind == "step":
        os._exit(0)
    event(watcher, kind, facts)
progress.Watcher.__call__ = watch
main(["run", sys.argv[1], "--out", str(Path(tempfile.mkdtemp()) / "r")])
"""


def seconds(source: Path, code: str, *words: str) -> float:
    """Return the processor's seconds of one start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print a row of a table for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("job")
    parser.add_argument("run")
    parser.add_argument("--net")
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    here = Path(__file__).resolve().parents[1] / "src"
    rows = {"show RUN": (COMMAND, "show", given.run)}
    if given.net:
        rows["net status, until it connects"] = (UNTIL_IT_CONNECTS, given.net)
    rows |= {"check JOB": (COMMAND, "check", given.job), "run JOB, to its first step": (FIRST_STEP, given.job)}
    for name, (code, *words) in rows.items():
        pairs = [(seconds(given.other, code, *words), seconds(here, code, *words)) for _ in range(given.times + 1)][1:]
        before, now = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(f"| `{name}` | {before:.2f} s | {now:.2f} s | {now / before:.2f} |", flush=True)


main()
