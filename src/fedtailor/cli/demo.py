"""fedtailor demo: a real job that comes with the package."""

from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from .console import err
from .run import Overrides, carry_out, show_end

STORY = """
  [bold]Six libraries play six companies.[/] Each owns its functions and their docstrings, and shows them to nobody.
  Together they teach one small language model, {backbone}, to say what a function does.
  [dim]Only the trained weights are sent. On two cores this takes about five minutes.[/]
"""


def demo(
    settings: Overrides = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="The run folder; left out: runs/demo-TIME.")] = None,
) -> None:
    """Six libraries play six companies and together teach a model to document code (about five minutes)."""
    from ..job import Job

    with as_file(files("fedtailor.cli").joinpath("demo.yaml")) as file:
        job = Job.load(file, settings or []).replace("base", str(Path.cwd()))
    err().print(STORY.format(backbone=job.backbone), markup=True)
    result = carry_out(job, out_folder=out_folder)
    show_end(result.folder, samples=3)
