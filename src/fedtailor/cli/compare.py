"""fedtailor compare: several runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from .console import out


def compare(runs: Annotated[list[Path], typer.Argument(help="The folders of two runs or more.", metavar="RUN RUN...")]) -> None:
    """Show several runs side by side: figures, costs, and the settings in which they differ."""
    from ..errors import SettingError
    from ..report import compare as side_by_side
    from ..report import read_run

    if len(runs) < 2:
        raise SettingError(
            f"compare sets runs side by side: name two or more, fedtailor compare {runs[0]} ANOTHER; "
            f"one alone is what fedtailor show {runs[0]} is for."
        )
    out().print(side_by_side([read_run(run) for run in runs]))
