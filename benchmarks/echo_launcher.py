"""The launcher of a site whose agent computes nothing: `python -m echo_launcher KIT`; see exchange_parts."""

import sys
from pathlib import Path

from fedtailor.network.command import site_processes

if __name__ == "__main__":
    site_processes.AGENT_MODULE = "exchange_parts"
    site_processes.serve_site(Path(sys.argv[1]), print)
