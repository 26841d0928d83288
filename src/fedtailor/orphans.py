"""Runs a module that ends when the process that started it has: `python -m fedtailor.orphans PARENT MODULE ...`, with the number of that process.

A process that is killed cannot end what it has started. The kernel's own way (a signal at the parent's death) counts the thread that started a
process as its parent, and ours are started by threads that end; so a thread here looks.
"""

import os
import runpy
import sys
import threading
import time

LOOK_S = 0.5


def main() -> None:
    """Watch the process that the first argument names, and run the module that the second one names with the rest of them."""
    _, parent, module, *rest = sys.argv
    if os.getppid() != int(parent):
        sys.exit(1)
    threading.Thread(target=_watch, args=(int(parent),), daemon=True).start()
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os._exit(1)


if __name__ == "__main__":
    main()
