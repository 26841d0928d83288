"""Serves the live page of a run, on loopback."""

import importlib.util
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ...errors import SettingError
from ..page import check_page
from ..so_far import read_so_far
from .app import app_of
from .state import State

NEEDED = {"starlette": "starlette", "uvicorn": "uvicorn", "sse_starlette": "sse-starlette"}
MOST_CONNECTIONS = 200
LEFT_S = 3.0  # that browsers get for the last picture, once a run has ended


def check_live() -> None:
    """Raise SettingError, saying what to install, if there is nothing to serve a page with."""
    check_page()
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise SettingError(f"the live page needs {' and '.join(missing)}, not installed here: pip install 'fedtailor[page]'")


def serve(folder: Path, *, port: int = 0, until_end: bool = False, ready: Callable[[str], None]) -> None:
    """Serve the live page of a run until interrupted, or, if `until_end`, until the run has ended.

    Args:
        port: on 127.0.0.1; 0: a free one.
        ready: called with the address as soon as it answers; the token in it keeps other users of the machine out.

    Raises:
        DataError: if no run has begun in the folder.
        SettingError: if the port is taken, or a package is missing.
    """
    check_live()
    read_so_far(folder)
    import uvicorn

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise SettingError(
            f"port {port} of 127.0.0.1 cannot be used ({error}); name another with --port, or leave it out"
        ) from None
    token, state = secrets.token_urlsafe(24), State(folder)
    port = listening.getsockname()[1]
    config = uvicorn.Config(
        app_of(state, token, port),
        log_config=None,  # its own would close every handler of this process, absl's with sys.stderr among them
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        http="h11",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    if until_end:
        threading.Thread(target=_stop_at_end, args=(server, state), daemon=True).start()
    listening.listen(MOST_CONNECTIONS)
    ready(f"http://127.0.0.1:{port}/{token}/")
    server.run(sockets=[listening])


def _stop_at_end(server: object, state: State) -> None:
    """Have the server stop a while after the run has ended, or its process is gone."""
    while not state.ended() and state.alive() is not False:
        time.sleep(1.0)
    time.sleep(LEFT_S)
    server.should_exit = True  # type: ignore[attr-defined]
