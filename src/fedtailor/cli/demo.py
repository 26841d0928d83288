"""fedtailor demo: real jobs that come with the package, one for each technique."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import err, note, out
from .run import Overrides, carry_out, show_end

if TYPE_CHECKING:
    from ..job import Job
    from .demos import Demo

MAIN = "main"
DATA = Path("runs") / "demo-data"


def demo(
    name: Annotated[
        str, typer.Argument(help="Which one: fedtailor demo --list. Left out: the main one.", metavar="[NAME]")
    ] = MAIN,
    settings: Overrides = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="The run folder; left out: runs/demo-TIME.")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the demonstrations, and run none.")] = False,
) -> None:
    """Six libraries play six companies and together teach a model to document code; or a demonstration of another technique."""
    if show_list:
        _list()
        return
    if "=" in name:
        name, settings = MAIN, [name, *(settings or [])]
    chosen = _named(name)
    err().print()
    err().print(f"  {chosen.story}", style="bold")
    err().print("  About three minutes on two cores at most; nothing is downloaded.\n", style="dim")
    job = prepared(name, chosen, settings or [])
    if chosen.network:
        from .net import carry_out_here

        show_end(carry_out_here(job, None, out_folder), samples=0)
        return
    show_end(carry_out(job, out_folder=out_folder).folder, samples=3)


def _list() -> None:
    from rich.padding import Padding

    from ..report.plain import plain_table
    from .demos import DEMOS

    table = plain_table("fedtailor demo …")
    table.add_column("what it shows", overflow="fold")
    for name, each in DEMOS.items():
        table.add_row(name, each.about)
    out().print(Padding(table, (1, 2), expand=False))


def _named(name: str) -> "Demo":
    from ..errors import SettingError
    from ..job.faults import nearest
    from .demos import DEMOS

    if name not in DEMOS:
        near = nearest(name, DEMOS)
        raise SettingError(
            f"there is no demonstration {name!r}; " + (f"did you mean {near}?" if near else f"there are {', '.join(DEMOS)}.")
        )
    return DEMOS[name]


def prepared(name: str, chosen: "Demo", settings: list[str]) -> "Job":
    """Return the job of a demonstration, after its data were made; those that an earlier one has made are used again."""
    from ..job import Job

    base = Path.cwd()
    if chosen.prepare is not None:
        base = (DATA / name).absolute()
        if not base.is_dir():
            note(f"making the data in {DATA / name} …")
            fresh = base.with_name(f".{name}")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            chosen.prepare(fresh)
            fresh.rename(base)
    with as_file(files("fedtailor.cli.demos").joinpath(f"{name}.yaml")) as file:
        return Job.load(file, settings).replace("base", str(base))
