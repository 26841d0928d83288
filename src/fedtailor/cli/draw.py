"""What `fedtailor try` does with a run that makes pictures: a sheet of samples, before and after, from the same noise."""

from collections.abc import Sequence
from pathlib import Path

from .console import err, say
from .waiting import waiting

MOST = 100  # pictures for each label
SHOWN = 10  # labels, where none is named
SCALE = 64  # pixels that a small picture is shown with, about


def makes_pictures(run: Path) -> bool:
    """Return whether a folder is that of a run whose model makes pictures."""
    from ..job import Job
    from ..models.kinds import KINDS, kind_of

    file = run / "job.yaml"
    task = Job.load(file).task if file.is_file() else None
    return task is not None and task.backbone in KINDS and not kind_of(task.backbone).of_texts


def draw(run: Path, names: Sequence[str], path: Path, *, steps: int, guidance: float, count: int) -> None:
    """Write a sheet with a row for each label: `count` pictures of the backbone on the left, `count` of the run's model on the right."""
    import numpy as np

    from ..errors import SettingError
    from ..export import open_run
    from ..pictures import write_grid
    from ..tasks.images.samples import make_pictures
    from ..tasks.images.sampling import Sampling

    if not 1 <= count <= MOST:
        raise SettingError(f"--count is a number of pictures for each label, 1 to {MOST}; got {count}")
    how = Sampling(steps=steps, guidance=guidance)
    if path.suffix.lower() != ".png" or not path.parent.is_dir():
        raise SettingError(f"--out {path} is no PNG in a folder that is there; write a path such as {run / 'samples.png'}")
    with waiting(err(), "loading the model and making pictures"):
        done = open_run(run)
        canvas, known = done.backbone.processor, done.labels
        rows = _rows(names, known)
        labels = [row for row in rows for _ in range(count)]
        after = make_pictures(done.model, canvas, labels, how)
        with done.untuned() as model:
            before = make_pictures(model, canvas, labels, how)
    pairs = [np.concatenate([sheet[row * count : (row + 1) * count] for sheet in (before, after)]) for row in range(len(rows))]
    scale = max(1, round(SCALE / canvas.size))
    write_grid(np.concatenate(pairs), path, columns=2 * count, scale=scale, middle=count)
    for row in rows:
        say("  [dim]row {row}[/]  {name}", row=rows.index(row) + 1, name=known[row] if row < len(known) else "no label")
    say("wrote [bold]{path}[/]  [dim]left: before; right: after, from the same noise[/]", path=path)


def _rows(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """Return the class numbers of the labels that are named; of the first ones if none is."""
    from ..errors import SettingError

    strange = [name for name in names if name not in known]
    if strange:
        have = f"the model knows {', '.join(known[:20])}" if known else "the model takes no label; name none"
        raise SettingError(f"there is no label {strange[0]!r}; {have}")
    return [known.index(name) for name in names] or list(range(min(len(known), SHOWN))) or [0]
