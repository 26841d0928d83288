"""The process that holds a site's model: `python -m fedtailor.network.site.model_process`, with frames on standard input and output.

If training dies here (out of memory, a fault in a driver), the site's own process answers "failed" and starts another one.
"""

import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import FedtailorError
from ...federation.local import failure_of
from ...job.own_classes import fedtailors_classes_alone
from ...printable import printable
from ...protection import Encoded
from ..kit.site_file import read_site_file
from .at_site import Refused, describe, guarded, site_parts
from .guarded import Guarded
from .pipe import FAILURE, INFO, MESSAGE, OPEN, Ended, Pipe


def main() -> None:
    """Answer frames until the other side is gone.

    Raises:
        RuntimeError: if a message comes before the job was opened.
    """
    pipe = Pipe(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # what any library prints goes to the site's log
    half: Guarded | None = None
    for tag, payload in _frames(pipe):
        began = time.perf_counter()
        try:
            if tag == OPEN:
                half, info = _open(json.loads(payload))
                pipe.put(INFO, json.dumps(info).encode())
                continue
            if half is None:
                raise RuntimeError("a message came before the job was opened")
            reply: Encoded = half.answer(payload)
            pipe.put(INFO, json.dumps({"seconds": time.perf_counter() - began}).encode())
            pipe.put(MESSAGE, reply)
        except Ended:
            return
        except Exception as fault:
            sys.stderr.write(printable("".join(traceback.format_exception(fault))))
            sys.stderr.flush()
            pipe.put(FAILURE, json.dumps(_plain(fault)).encode())


def _open(start: Mapping[str, Any]) -> tuple[Guarded, dict[str, Any]]:
    site, kit = str(start["site"]), Path(start["kit"])
    file = read_site_file(kit)
    with fedtailors_classes_alone():
        parts = site_parts(site, kit, file, start["opening"], lambda text: print(f"note: {text}", file=sys.stderr, flush=True))
    if not start["restarted"]:
        parts.clients.stores[site].roll_back(int(start["opening"]["version"]))
    return guarded(site, parts, file, kit), describe(site, parts, file)


def _plain(fault: Exception) -> dict[str, str]:
    """Return what may be known of a fault outside; only our own refusals have a text."""
    error = failure_of(fault)
    return {"kind": error.kind, "mark": error.mark, **({"text": str(fault)} if isinstance(fault, Refused) else {})}


def _frames(pipe: Pipe) -> Any:
    """Yield frames as they come; the process ends at once when the other side is gone, also in the middle of training."""
    arrived: queue.Queue[tuple[bytes, bytes]] = queue.Queue()

    def read() -> None:
        try:
            while True:
                arrived.put(pipe.get())
        except Ended:
            os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield arrived.get()


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        main()
    except FedtailorError as error:
        sys.exit(str(error))
