"""fedtailor init and fedtailor schema: a job to start from, and the form that editors check it against."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .console import out, say


def init(
    file: Annotated[Path, typer.Argument(help="The file to write.", metavar="[FILE]")] = Path("job.yaml"),
    force: Annotated[bool, typer.Option(help="Replace the file if it exists.")] = False,
) -> None:
    """Write an example job with a comment on every setting."""
    from ..errors import SettingError
    from ..job import example_job
    from ..storage import write_text

    if file.exists() and not force:
        raise SettingError(f"{file} exists already; name another file, or add --force to replace it.")
    if not file.parent.is_dir():
        raise SettingError(f"the folder {file.parent} does not exist; make it first, or name a file in another folder.")
    write_text(file, example_job())
    say("\n  wrote [bold]{file}[/], a job that would run as it is\n", file=file)
    say("  [dim]look   [/] fedtailor check {file}\n  [dim]start  [/] fedtailor run {file}\n", file=file)


def schema(
    file: Annotated[Path | None, typer.Argument(help="Where to write it; left out: printed.", metavar="[FILE]")] = None,
) -> None:
    """Print the JSON schema of job files, for completion and checks in editors."""
    from ..job import Job
    from ..storage import write_text

    text = json.dumps(Job.schema(), indent=2, ensure_ascii=False) + "\n"
    if file is None:
        sys.stdout.write(text)
        return
    write_text(file, text)
    out().print(f"wrote {file}; put this first in a job file:  # yaml-language-server: $schema={file}", soft_wrap=True)
