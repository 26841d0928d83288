"""Commands that only read import no model library and none of the job's classes: those take seconds."""

import subprocess
import sys

import pytest

LOADED = """
import sys
heavy = {"torch", "pandas", "transformers", "fedtailor.job", "fedtailor.running", "fedtailor.tasks"}
{run}
sys.stderr.write(" ".join(sorted(heavy & set(sys.modules))))
"""
SHOW = """
from fedtailor.cli import main
try:
    main(["show", sys.argv[1]])
except SystemExit as end:
    assert not end.code, end.code
"""
BEFORE_IT_CONNECTS = """
import fedtailor.cli.net, fedtailor.network.kit.kits, fedtailor.report.plain, fedtailor.report.wording
try:
    import fedtailor.federation.nvflare.administration
except ModuleNotFoundError as error:  # an extra
    assert error.name == "nvflare", error
"""


@pytest.mark.parametrize("code", [SHOW, BEFORE_IT_CONNECTS], ids=["show", "net status"])
def test_what_only_reads_loads_no_model_library(write_run, code):
    folder = write_run("one")
    command = [sys.executable, "-c", LOADED.replace("{run}", code), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
