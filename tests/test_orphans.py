"""What ends with whoever started it."""

import subprocess
import sys
import time

import psutil

CHILD = [sys.executable, "-m", "fedtailor.orphans"]
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([*sys.argv[1:4], str(os.getpid()), *sys.argv[4:]])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_module_runs_with_its_arguments_and_ends_when_its_parent_is_killed(tmp_path, monkeypatch):
    (tmp_path / "long_running.py").write_text("import sys, time\nopen(sys.argv[1], 'w').write(__name__)\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    said = tmp_path / "said"
    with subprocess.Popen([sys.executable, "-c", PARENT, *CHILD, "long_running", str(said)], stdout=subprocess.PIPE) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        until = time.monotonic() + 60
        while not (said.is_file() and said.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        assert said.read_text() == "__main__"
        assert child.is_running()
        parent.kill()
    psutil.wait_procs([child], timeout=20)
    assert not child.is_running()


def test_who_is_started_by_another_does_not_run():
    assert subprocess.run([*CHILD, "1", "this"], check=False).returncode == 1
