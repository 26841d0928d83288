"""Starts a restricted process: `python -P -m fedtailor.network.sandbox.start RESTRICTIONS COMMAND ...`; it becomes the command."""

import json
import os
import sys

from . import landlock, seccomp
from .limits import drop_capabilities, end_with_parent, set_limits
from .restrictions import NEEDED_ABI, Restrictions


def main() -> None:
    """Apply what the first argument says, then become the rest."""
    values = json.loads(sys.argv[1])
    end_with_parent(values.pop("parent"))
    asked = Restrictions(**values)
    set_limits(asked.limits)
    if not asked.capabilities:
        drop_capabilities()
    landlock.no_new_privileges()
    if asked.sandbox and landlock.abi() >= NEEDED_ABI:
        landlock.restrict(asked.read, names=asked.names, write=asked.write, ports=asked.ports)
    if asked.sandbox and asked.families is not None and seccomp.available():
        seccomp.deny(asked.families)
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
