"""fedtailor compare: several runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from .console import out


def compare(
    runs: Annotated[list[Path], typer.Argument(help="The folders of two runs or more.", metavar="RUN RUN...")],
    target: Annotated[
        str | None,
        typer.Option(
            help="Also show rounds, bytes and seconds until a figure was reached, such as loss=1.85.", metavar="METRIC=NUMBER"
        ),
    ] = None,
) -> None:
    """Show several runs side by side: figures, costs, and the settings in which they differ."""
    from ..errors import SettingError
    from ..metrics.course import read_target
    from ..report import compare as side_by_side
    from ..report import read_run

    if len(runs) < 2:
        raise SettingError(
            f"compare sets runs side by side: name two or more, fedtailor compare {runs[0]} ANOTHER; "
            f"one alone is what fedtailor show {runs[0]} is for."
        )
    aim = None if target is None else read_target(target)
    out().print(side_by_side([read_run(run) for run in runs], target=aim))
