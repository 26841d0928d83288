"""Which runs are compared: those that are named, or all that a sweep or a recipe has finished."""

import os
from collections.abc import Sequence
from pathlib import Path

from ...errors import DataError, SettingError
from ...run_files import read_json_file
from ..read import Run, read_run

SWEEP = "sweep.json"  # a folder that has one is a sweep's, or a recipe's with several arms
CELLS = "cells"


def runs_in(folders: Sequence[Path]) -> tuple[list[Run], list[str], str]:
    """Return the finished runs in some folders, the names of a sweep's cells that have no result, and the metric that a sweep is about.

    Raises:
        DataError: if a folder is neither a finished run's nor a sweep's, or nothing of a sweep is finished.
        SettingError: if there are fewer than two.
    """
    runs: list[Run] = []
    missing: list[str] = []
    metric = ""
    same = [os.path.realpath(folder) for folder in folders]  # no `resolve`, which raises where links lead round in a circle
    twice = next((folder for place, folder in enumerate(folders) if same[place] in same[:place]), None)
    if twice is not None:
        raise SettingError(f"{twice} is named twice; a comparison takes each run once")
    for folder in folders:
        if not (folder / SWEEP).is_file():
            runs.append(read_run(folder))
            continue
        said = read_json_file(folder / SWEEP)
        if not isinstance(said, dict) or not isinstance(said.get("cells"), list):
            raise DataError(
                f"{folder / SWEEP} is damaged: it names no cells; the same command of fedtailor sweep writes it again"
            )
        metric = str(said.get("metric") or metric)
        homes = [folder / CELLS / str(name) for name in said["cells"]]
        runs += [read_run(home) for home in homes if (home / "summary.json").exists()]
        missing += [home.name for home in homes if not (home / "summary.json").exists()]
        if not runs:
            raise DataError(f"no cell of the sweep in {folder} has ended; the same command of fedtailor sweep continues it")
    if len(runs) < 2:
        raise SettingError(f"a comparison needs two runs or more; fedtailor report {folders[0]} makes the page of one")
    return runs, missing, metric
