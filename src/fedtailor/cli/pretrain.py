"""fedtailor pretrain: makes a backbone for pictures."""

from pathlib import Path
from typing import Annotated

import typer

from .console import note, say
from .run import JobFile, Overrides

NOT_READ = ("stop.patience=null", "stop.keep=last")  # there are no rounds; what a job would have to say of them with a GAN


def pretrain(  # noqa: PLR0917 - Typer passes all by name
    job: JobFile,
    settings: Overrides = None,
    folder: Annotated[Path, typer.Option("--to", help="Where to write it; absent or empty.", metavar="FOLDER")] = Path(
        "backbone"
    ),
    shape: Annotated[str, typer.Option(help="unet-tiny, unet-small, unet-base, dit-tiny, dit-s or dcgan.")] = "unet-tiny",
    only: Annotated[
        str, typer.Option(help="Labels whose pictures are trained on, with commas between them; left out: all.")
    ] = "",
    steps: Annotated[int, typer.Option(help="Steps of the optimizer.")] = 1500,
    batch_size: Annotated[int, typer.Option(help="Pictures a step.")] = 32,
) -> None:
    """Make a backbone that makes pictures, from the public pictures of data.train in one place."""
    import time

    from ..errors import SettingError
    from ..job import Job
    from ..report.wording import figure
    from ..studies.pretrain import Pretraining
    from ..studies.pretrain import pretrain as make

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError(f"the folder to write to, {folder}, is not empty; name another one with --to")
    how = Pretraining(
        shape=shape, only=[name.strip() for name in only.split(",") if name.strip()], steps=steps, batch_size=batch_size
    )
    first = [0.0]  # when the first step was done: it prepares what later ones need not

    def on_step(step: int, steps: int, loss: float) -> None:
        if step == 1:
            first[0] = time.monotonic()
        elif step % max(1, steps // 20) == 0 or step == 10:
            left = (time.monotonic() - first[0]) * (steps - step) / (step - 1)
            note(f"step {step:,} of {steps:,}  ·  loss {figure('loss', loss)}  ·  about {left:.0f} s more")

    made = make(Job.load(job, [*(settings or []), *NOT_READ]), folder, how, on_step=on_step, doing=lambda what: note(f"{what} …"))
    say(
        "wrote [bold]{folder}[/]  ·  {loss}  ·  {pictures} pictures seen",
        folder=folder,
        loss="no loss says how good a GAN is"
        if made["held_out_loss"] is None
        else f"held-out loss {figure('loss', made['held_out_loss'])}",
        pictures=f"{how.steps * how.batch_size:,}",
    )
