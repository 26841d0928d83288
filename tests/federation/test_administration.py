"""The administrator's side of the engine."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("nvflare") is None, reason="NVFlare is not installed: pip install 'fedtailor[net]'")

WARNS = """
import logging
import fedtailor.federation.nvflare.administration
logging.getLogger("nvflare.fuel.f3.sfm.conn_manager").warning("[ME=:50b8869 O=? D=server] no connection to server")
logging.getLogger("other").warning("is shown")
"""


def test_the_engines_own_warnings_are_not_printed_between_our_lines():
    done = subprocess.run([sys.executable, "-c", WARNS], capture_output=True, text=True, check=True, timeout=300)
    assert done.stderr == "is shown\n"
