"""Small text files that a person wrote: read whole within bounds, or refused in one sentence that names the file."""

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import JobError, SettingError

MOST_BYTES = 1_000_000  # of a job, a site file, a list of labels
MOST_NAME, MOST_PATH = 255, 4000  # bytes of a file's name, and of its path; Linux refuses longer ones
MOST_DIGITS = 4000  # of a whole number; Python itself refuses 4300
SORTS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


class Twice(ValueError):
    """A name stands twice in one object of a JSON text; its text is that name."""


def once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of a JSON text, for `json.loads(text, object_pairs_hook=once_each)`; json itself would keep the last of equal names.

    Raises:
        Twice: if a name stands there twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise Twice(next(name for name in names if names.count(name) > 1))
    return found


def expanded(base: Path, name: str | Path, what: str, *, error: type[JobError] = SettingError, dot: bool = False) -> Path:
    """Return a path that a person wrote, from `base` on if it is relative; ~ is somebody's home.

    Args:
        what: the setting that names it.
        dot: whether a dot is meant: data may lie in the folder `base` itself, beside the job.

    Raises:
        JobError: of the type `error`, if no file can have that name, or it is blank or, unless it is meant, a dot.
    """
    if not str(name).strip() or not (dot or Path(name).parts):
        raise error(
            f"{what} is {str(name)!r}, which names no file or folder of its own (relative paths start at {base}); "
            "write the path of one, or leave the setting out."
        )
    parts = [part.encode("utf-8", "surrogatepass") for part in Path(name).parts]
    if "\0" in str(name) or any(len(part) > MOST_NAME for part in parts) or sum(map(len, parts)) + len(parts) > MOST_PATH:
        raise error(
            f"{what} is {shown(name)!r}, which cannot be the name of a file: it is too long, or holds a zero byte; shorten it."
        )
    try:
        return base / Path(name).expanduser()
    except RuntimeError:
        raise error(f"{what} is {shown(name)!r}, and there is no user of that name here; write the path out.") from None


def sort_of(path: Path) -> str:
    """Return what there is in the place of a regular file, as in "a folder"; empty for a regular file, or for nothing."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return ""
    return next((name for is_one, name in SORTS.items() if is_one(mode)), "")


def check_regular(path: Path, what: str, *, error: type[JobError] = SettingError, tip: str = "") -> None:
    """Raise `error` unless `path` is a regular file, or a link to one; nothing is opened, so nothing can wait.

    Args:
        what: whose file it is, as in "the job file".
        tip: what to do if there is no such file.
    """
    try:
        os.stat(path)
    except FileNotFoundError:
        raise error(f"{path}: there is no such file, to be read as {what}{f'; {tip}' if tip else ''}.") from None
    except (OSError, ValueError) as fault:
        raise error(
            f"{shown(path)}: {what} cannot be read: {reason(fault)}; check the path, where its links lead, and its mode."
        ) from None
    if sort := sort_of(path):
        raise error(f"{path} is {sort}, and {what} must be a regular file; give the path of a file.")


def read_text(path: Path, what: str, *, most_bytes: int = MOST_BYTES, error: type[JobError] = SettingError, tip: str = "") -> str:
    """Return a file of UTF-8 text as a whole.

    Raises:
        JobError: of the type `error`, if it is missing, no regular file, too large, or no text.
    """
    check_regular(path, what, error=error, tip=tip)
    try:
        with path.open("rb") as file:
            found = file.read(most_bytes + 1)
    except OSError as fault:
        raise error(f"{path}: {what} cannot be read: {reason(fault)}.") from None
    if len(found) > most_bytes:
        raise error(f"{path} has more than {most_bytes:,} bytes, the most that {what} may have; is it another file?")
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = found.count(b"\n", 0, fault.start) + 1
        raise error(
            f"{path}, line {line}: {what} is not UTF-8 text: byte {fault.start + 1} (0x{found[fault.start]:02x}) belongs to no character; "
            "save it again as UTF-8."
        ) from None


def read_json(text: str, where: str, *, error: type[JobError] = SettingError) -> Any:
    """Return what a JSON text says; a name that stands twice in one object, NaN and infinity are refused.

    Raises:
        JobError: of the type `error`; `where` says whose text it is.
    """

    def no_number(name: str) -> float:
        raise error(f"{where}: {name} is no value of JSON; write a finite number or null.")

    try:
        return json.loads(text, object_pairs_hook=once_each, parse_constant=no_number)
    except Twice as fault:
        raise error(f"{where}: the name {str(fault)[:60]!r} stands twice in one object; leave one of them out.") from None
    except json.JSONDecodeError as fault:
        raise error(f"{where}, line {fault.lineno}: this is not JSON: {fault.msg} at character {fault.colno}.") from None
    except RecursionError:
        raise error(f"{where}: the text is nested too deep; is it another file?") from None
    except ValueError as fault:  # a number of more digits than Python reads
        raise error(f"{where}: this is not JSON that can be read: {fault}.") from None


def shown(path: str | Path, most: int = 120) -> str:
    """Return a path for a message: shortened, and with signs that no name can have written out."""
    text = str(path)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= most else f"{text[: most - 3]}..."


def reason(fault: OSError | ValueError) -> str:
    """Return why the system refuses a path, in its own words."""
    return (getattr(fault, "strerror", None) or str(fault) or type(fault).__name__)[:200].rstrip(".").lower()
