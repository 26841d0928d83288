"""Folders of pictures: the files in them, and as labels the names of the subfolders that they lie in."""

from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from ..pictures import MOST_BYTES
from ..text_files import check_regular
from .cells import Unreadable
from .table import Table

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm")
COLUMNS = ("image", "label", "file")


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures that lie in a folder or in a folder of it, in the order of their names; hidden ones are left out."""
    found = [path for path in _visible(folder) if path.suffix.lower() in ENDINGS]
    for inner in (path for path in _visible(folder) if path.is_dir()):
        found += [path for path in _visible(inner) if path.suffix.lower() in ENDINGS]
    return sorted(found)


def picture_table(folder: Path, files: list[Path], part: str) -> Table:
    """Return the table of a folder's pictures: `image`, the name of the file, and, where all lie in subfolders, `label`.

    Raises:
        DataError: if some lie in subfolders and others do not, so that some have no label, or one is no plain file.
    """
    names = [path.relative_to(folder) for path in files]
    inside = [len(name.parts) > 1 for name in names]
    if any(inside) and not all(inside):
        beside = names[inside.index(False)]
        raise DataError(
            f"data.{part} is the folder {folder}, whose pictures lie partly in subfolders (their labels) and partly beside them, such as "
            f"{beside}: move these into a subfolder too, or all of them out"
        )
    for path in files:
        check_regular(path, f"data.{part}", error=DataError)

    def column(name: str) -> list[object]:
        if name == "image":
            return [_content(path) for path in files]
        return [names[row].parts[0] if name == "label" else str(names[row]) for row in range(len(files))]

    return Table(
        where=str(folder),
        names=COLUMNS if all(inside) else (COLUMNS[0], COLUMNS[2]),
        size=len(files),
        column=column,
        place=lambda row: f"file {names[row]}",
        ids=[str(name) for name in names],
    )


def _content(path: Path) -> Unreadable:
    """Return the bytes of a file, or one byte more than are taken, so that no more of them are held."""
    try:
        with path.open("rb") as file:
            return Unreadable("a picture", file.read(MOST_BYTES + 1))
    except OSError as fault:
        raise DataError(f"{path} cannot be read: {fault.strerror}; see that you may read it") from fault


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith((".", "_")))
