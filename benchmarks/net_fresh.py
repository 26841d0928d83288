"""How many commands and seconds it takes from nothing to a finished small job on a fresh network: those of docs/deployment.md, on this machine.

Usage: net_fresh.py. About 1 minute. The tiny model and the sites' files are made before the clock starts.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from netting import SITES, tiny_job
from timing import write

from fedtailor.network.command.world import free_port

PATIENCE_S = 600.0  # for what is not there yet


def main() -> None:
    """Type the commands, and write what each took."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="net-fresh-") as place:
        typed = Typed(Path(place))
        try:
            found = fresh(typed)
        finally:
            typed.stop()
    write("net_fresh", found)


def fresh(typed: "Typed") -> dict[str, object]:
    """Carry a job out on a network that is made for it."""
    job = tiny_job(typed.folder, rounds=3)
    (typed.folder / "job.yaml").write_text(job.to_yaml())
    (typed.folder / "hospitals.yaml").write_text(f"server: localhost\nport: {free_port()}\nsites: [{', '.join(SITES)}]\n")
    typed.began = time.monotonic()
    typed.run("net", "init", "hospitals.yaml")
    typed.leave("net", "serve", "hospitals/server")
    for site in SITES:
        typed.leave("site", "join", f"hospitals/{site}", "--data", f"{site}.jsonl", "--backbone", "tiny-llama=tiny-llama")
    typed.until(lambda shown: "site-1" in shown and "not connected" not in shown, "net", "status", "hospitals")
    typed.run("run", "job.yaml", "--on", "hospitals", "--out", "done")
    seconds = time.monotonic() - typed.began
    if not (typed.folder / "done" / "summary.json").is_file():
        raise SystemExit("the run left no summary")
    return {"commands": len(typed.rows), "seconds": round(seconds, 1), "rows": typed.rows}


class Typed:
    """Commands as they are typed in one folder."""

    def __init__(self, folder: Path) -> None:
        """Begin with nothing typed."""
        self.folder, self.began = folder, 0.0
        self.rows: list[dict[str, object]] = []
        self._left: list[subprocess.Popen[bytes]] = []

    def run(self, *words: str) -> str:
        """Type a command and wait for its end; return what it shows."""
        done = self._done(*words)
        self._note(words)
        if done.returncode:
            raise SystemExit(f"fedtailor {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def until(self, right: Callable[[str], bool], *words: str) -> None:
        """Type a command again until it shows what is waited for; it counts once."""
        until = time.monotonic() + PATIENCE_S
        while not ((done := self._done(*words)).returncode == 0 and right(done.stdout)):
            if time.monotonic() > until:
                raise SystemExit(f"fedtailor {' '.join(words)} shows: {done.stdout}{done.stderr}")
            time.sleep(0.5)
        self._note(words)

    def leave(self, *words: str) -> None:
        """Type a command that continues."""
        with (self.folder / "left.out").open("ab") as log:
            self._left.append(
                subprocess.Popen(self._command(words), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )
        self._note(words)

    def stop(self) -> None:
        """End what continues, sites first."""
        for command in reversed(self._left):
            command.terminate()
            command.wait()

    def _done(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(self._command(words), cwd=self.folder, capture_output=True, text=True, check=False)

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "fedtailor.cli", *words]

    def _note(self, words: tuple[str, ...]) -> None:
        self.rows.append({"at_s": round(time.monotonic() - self.began, 1), "command": " ".join(["fedtailor", *words])})
        print(self.rows[-1], flush=True)


if __name__ == "__main__":
    main()
