"""fedtailor rag serve: questions answered over a socket, and on loopback, until somebody stops it."""

import signal
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from .console import note, out

if TYPE_CHECKING:
    from ..retrieval import Federation


def serve_until_stopped(
    federation: "Federation", folder: Path, *, top_k: int, reader: str, socket: Path | None, http: str | None
) -> None:
    """Print where questions are taken, take them, and end at Ctrl-C or a request to end."""
    from ..retrieval.collection import make_reader
    from ..retrieval.service import Service
    from ..retrieval.serving import local_socket, loopback
    from ..retrieval.share import LETS_OUT

    service = Service(federation=federation, top_k=top_k, reader=make_reader(reader, federation.embedder))
    stop = Event()
    with ExitStack() as stack:
        place = socket or folder / "ask.sock"
        servers: list[Any] = [stack.enter_context(local_socket(service, place))]
        servers += [] if http is None else [stack.enter_context(loopback(service, http))]
        out().print(
            f"  {len(federation.clients)} clients  ·  share: {federation.share}: {LETS_OUT[federation.share]}", soft_wrap=True
        )
        out().print(f"  socket  {place}", soft_wrap=True, markup=False)
        if http is not None:
            address = f"http://127.0.0.1:{servers[1].server_address[1]}"
            out().print(f"  http    {address}/ask and {address}/v1/chat/completions", soft_wrap=True, markup=False)
        out().print("  Ctrl-C ends it", style="dim")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *of: stop.set())
        threads = [Thread(target=server.serve_forever, daemon=True) for server in servers]
        for thread in threads:
            thread.start()
        stop.wait()
        for server in servers:
            server.shutdown()
    out().print(f"  {service.answered:,} questions answered")


def serve_network(name: Path, network: Path) -> None:
    """Keep a job of retrieval open on a network, until Ctrl-C or as long as it says that nobody need ask."""
    from ..errors import SettingError
    from ..network.command.open_run import serve_on
    from ..running.retrieving import asking, asking_job, is_job

    if not is_job(name):
        raise SettingError(
            f"--on serves a job on the sites of a network, and {name} is no job file; write one: protocol: retrieval"
        )
    job = asking_job(name)

    def watch(kind: str, facts: Mapping[str, object]) -> None:
        if kind == "warning":
            note(f"  {facts['text']}")
        if kind == "start":
            out().print(f"  open  ·  share: {asking(job).share}: {asking(job).lets_out}", soft_wrap=True)
            out().print(f'  ask: fedtailor rag ask {name} "…" --on {network}', soft_wrap=True, markup=False)
            out().print("  Ctrl-C ends it", style="dim")

    serve_on(job, network, watcher=watch, said=lambda id: note(f"  submitted: {id}"))
    out().print("  nobody asked any more: the job has ended")
