"""A run that was killed and resumed gives the same bits as one that was not."""

import os
import subprocess
import sys
from pathlib import Path


def test_kill_9_at_ten_random_moments(tiny_backbone_folder, tmp_path):
    script = Path(__file__).with_name("kill_and_resume.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tiny_backbone_folder), str(tmp_path), "10", "0"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ended -9") >= 6, done.stdout  # most kills must have hit a live run
    assert done.stdout.count(": same") == 10
