"""fedtailor watch: the live page of a run."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from .console import out


def watch(
    run: Annotated[Path, typer.Argument(help="The folder of a run that is under way, or has ended.", metavar="RUN")],
    port: Annotated[int, typer.Option(help="On 127.0.0.1; left out: a free one.", min=0, max=65535)] = 0,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop as soon as the run has ended.")] = False,
) -> None:
    """Serve a run as a page that renews itself, on this machine alone; Ctrl-C ends it, and not the run."""
    from ..report.live import serve

    def ready(address: str) -> None:
        out().print(address, soft_wrap=True, markup=False, highlight=False)
        sys.stdout.flush()
        if show:
            import webbrowser

            webbrowser.open(address)

    serve(run, port=port, until_end=until_end, ready=ready)


def begin_watching(folder: str) -> None:
    """Start a process that serves the live page of a run that has just begun, until that run ends."""
    command = [sys.executable, "-m", "fedtailor.cli", "watch", folder, "--until-end", "--open"]
    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
