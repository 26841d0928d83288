"""What `fedtailor check` found, kept in the user's cache, so that a second look at the same job needs neither data nor model.

An entry is found by the job file, the settings behind it, all packages that are installed, this program's own files, the day and the machine. It
holds as long as each file and folder that the job names, and each folder of a backbone, has the size, inode and times that it had. A job of data
that are no files, or with classes of the user's own, is looked at again each time; so is one with `data.cache: false`.
"""

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..clock import today
from ..errors import SettingError
from ..storage import text_sha256
from ..text_files import read_text
from ..user_cache import file_state, keep_private, plan_folder
from .plan import Plan

if TYPE_CHECKING:
    from ..job import Job

FORM = "2"  # of an entry
SEEN = ("FEDTAILOR_", "HF_", "TRANSFORMERS_", "TOKENIZERS_", "TORCH", "CUDA", "NVIDIA_", "OMP_", "MKL_", "PYTHON", "HOME")

States = Mapping[str, list[object] | None]


@dataclass(frozen=True)
class Lookup:
    """One look at a job."""

    job: Path
    text: str | None  # of the job file; None if it cannot be read: whoever reads it next says why
    key: str  # that the entry is found by

    @classmethod
    def of(cls, job: Path, settings: Sequence[str]) -> "Lookup":
        """Return the look at a job file with settings on top, before anything of it was read."""
        text = _text(job)
        return cls(job, text, _key(job, text or "", settings))

    def kept(self) -> Plan | None:
        """Return what an earlier look found, if all that it follows from is as it was."""
        if self.text is None:
            return None
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            entry = json.loads(self._file.read_text(encoding="utf-8"))
            text = json.dumps([entry["states"], entry["plan"]])
            if entry["sha256"] != text_sha256(text) or any(
                file_state(Path(path)) != was for path, was in entry["states"].items()
            ):
                return None
            os.utime(self._file)
            return Plan(**entry["plan"])
        return None

    def behind(self, job: "Job") -> States | None:
        """Return the state of each file that the job names, to be taken before they are read; None if nothing is to be kept."""
        from ..data.settings import PARTS
        from ..job.own_classes import any_imported

        if self.text is None or not job.data.cache or any_imported():
            return None
        sources = [getattr(job.data, part) for part in PARTS] + [(job.protocol.public_examples or (None,))[0]]
        texts = [text for source in sources for text in _texts(source)]
        if not all(text == "rest" or _path(job, text).exists() for text in texts):
            return None  # of a hub, or of what is installed
        plain = {name: value for name, value in job.to_dict().items() if name != "base"}
        return {str(_path(job, text)): file_state(_path(job, text)) for text in _texts(plain)}

    def keep(self, plan: Plan, behind: States | None, folders: Sequence[Path]) -> None:
        """Keep what was found, if all that it follows from is as it was before; a cache that cannot be written costs time, no more."""
        if behind is None or _text(self.job) != self.text:
            return
        with suppress(OSError):
            if any(file_state(Path(path)) != was for path, was in behind.items()):
                return
            states = json.loads(json.dumps({**behind, **{str(folder): file_state(folder) for folder in folders}}))
            shown = json.loads(json.dumps(asdict(plan)))
            entry = {"states": states, "plan": shown, "sha256": text_sha256(json.dumps([states, shown]))}
            keep_private(self._file, json.dumps(entry).encode())

    @property
    def _file(self) -> Path:
        return plan_folder() / f"{self.key}.json"


def _text(job: Path) -> str | None:
    try:
        return read_text(job, "the job file")
    except SettingError:
        return None


def _key(job: Path, text: str, settings: Sequence[str]) -> str:
    """Return what names an entry: a hash of all but the files that the job names."""
    packages = sorted(
        name for folder in sys.path for name in _names(folder) if name.endswith((".dist-info", ".egg-info", ".pth"))
    )
    variables = sorted((name, value) for name, value in os.environ.items() if name.startswith(SEEN))
    processors = sorted(name for name in _names("/dev") if name.startswith("nvidia"))
    ours = [(str(file), file_state(file)) for file in sorted(Path(__file__).parents[1].rglob("*.py"))]
    found = [FORM, sys.version, packages, variables, platform.node(), os.cpu_count(), processors, ours, today()]
    return text_sha256(json.dumps([*found, str(job.absolute()), str(job.resolve()), text, list(settings)]))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder or ".")
    except OSError:
        return []


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a setting, or in settings inside of it, keys apart."""
    if isinstance(value, str | os.PathLike) and str(value):
        yield os.fspath(value)
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def _path(job: "Job", text: str) -> Path:
    """Return the path that a text of a job would be."""
    try:
        return job.base / Path(text).expanduser()
    except RuntimeError:  # there is no such user
        return job.base / text
