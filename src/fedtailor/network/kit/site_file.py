"""The private file of a site: where its data are and what it permits. It never leaves the site."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...errors import BackboneError, SettingError
from ...old_names import OLD_NAMES, with_new_names
from ...storage import put_in_place, writing
from ...text_files import read_text
from .columns import column_refusals
from .policy import Policy

NAME = "fedtailor.json"  # in the kit's folder local/
BACKBONES = "backbones"  # in the kit: folders of backbones, by name
BACKBONE = re.compile(r"\w[\w.@-]*(/\w[\w.@-]*)?")  # such as llama, or owner/model


@dataclass(frozen=True, kw_only=True)
class SiteFile:
    """What a site needs to take part in jobs."""

    data: tuple[str, ...]  # files or folders of examples; paths are absolute
    columns: Mapping[str, str] = field(default_factory=dict)  # the task's name of a field -> column of the data
    validation_share: float = 0.1  # of its examples; not used where the job has a public validation set
    test_share: float = 0.1  # its own held-out part
    backbones: Mapping[str, str] = field(default_factory=dict)  # a job's name of a backbone -> folder or name here
    policy: Policy = field(default_factory=Policy)
    sandbox: str = "full"  # or none: the site's processes are not restricted, on systems that cannot do it

    def __post_init__(self) -> None:
        for name in ("validation_share", "test_share"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
                raise SettingError(f"{name} is a share of the examples, in [0, 1); got {value!r}")
        if self.validation_share + self.test_share >= 1:
            raise SettingError(
                f"validation_share and test_share leave nothing to train on: {self.validation_share} + {self.test_share}; together below 1"
            )
        if not isinstance(self.data, tuple) or not self.data or not all(isinstance(path, str) and path for path in self.data):
            raise SettingError(f"data is a list of files or folders of examples; got {self.data!r}")
        for name, what in (
            ("columns", "a field of the task to the column of it"),
            ("backbones", "a job's name of a backbone to where it lies"),
        ):
            value = getattr(self, name)
            if not isinstance(value, Mapping) or not all(
                isinstance(text, str) and text for pair in value.items() for text in pair
            ):
                raise SettingError(f"{name} is a mapping of {what}, both texts; got {value!r}")
        if self.sandbox not in ("full", "none"):
            raise SettingError(f"sandbox is full or none; got {self.sandbox!r}")
        if not isinstance(self.policy, Policy):
            raise SettingError(f"policy is a mapping of settings; got {self.policy!r}")

    def refusals(self, job: Mapping[str, Any]) -> list[str]:
        """Return why a job is not permitted here, a sentence each; empty if it is. See `Policy.refusals`."""
        return self.policy.refusals(job) or column_refusals(job, self.columns)

    def backbone(self, name: str, kit: Path) -> str:
        """Return where the backbone that a job names lies here; a path that a job brings is never opened.

        Raises:
            BackboneError: if it is not here.
        """
        from ...models.packaged import PACKAGED

        if name in self.backbones:
            return self.backbones[name]
        sent = sent_backbone(kit, name)
        if sent is not None and sent.is_dir():
            return str(sent)
        if name in PACKAGED:
            return name
        known = sorted({*self.backbones, *PACKAGED})
        raise BackboneError(
            f"this site has no backbone {name!r}; it has {', '.join(known)}. Its owner can add one: fedtailor site join KIT --backbone {name}=FOLDER"
        )

    def missing(self) -> list[str]:
        """Return which of the data are not there."""
        return [path for path in self.data if not os.path.exists(path)]

    def write(self, kit: Path) -> None:
        """Write the file into a kit, for its owner's eyes alone."""
        write_private(kit / "local" / NAME, json.dumps(asdict(self), indent=2) + "\n")


def read_site_file(kit: Path) -> SiteFile:
    """Return a kit's private file.

    Raises:
        SettingError: if it is missing or wrong.
    """
    path = kit / "local" / NAME
    try:
        text = read_text(path, "a site's file", tip="fedtailor site join writes it")
        content = json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_number)
        settings = _known(SiteFile, content, "the file")
        policy = Policy(**_known(Policy, _renamed(settings.pop("policy", {})), "policy"))
        data = settings.get("data", ())
        file = SiteFile(**{**settings, "data": tuple(data) if isinstance(data, list) else data, "policy": policy})
        # the site's processes have another working folder
        if relative := [path for path in file.data if not Path(path).is_absolute()]:
            raise SettingError(f"data names {relative[0]!r}; write the whole path, from /")
        return file
    except SettingError as fault:
        said = str(fault)
        raise SettingError(said if said.startswith(str(path)) else f"{path}: {said}") from None
    except (OSError, ValueError, TypeError, RecursionError) as fault:
        raise SettingError(f"{path} cannot be read: {fault}") from None


def sent_backbone(kit: Path, name: str) -> Path | None:
    """Return the folder that a backbone which came from the server has in a kit; None if the name is none of a folder or a hub of models."""
    return kit / BACKBONES / name.replace("/", "--") if BACKBONE.fullmatch(name) else None


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole; only its owner may read it."""
    fresh = path.with_name(f".{path.name}.new")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        put_in_place(fresh, path)


class Meter:
    """Counts a site's bytes by day, over all jobs and restarts."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        """Take where the count is kept, and the most of a day."""
        self._path, self._most = path, most_bytes

    def let_pass(self, size_bytes: int) -> bool:
        """Return whether so many bytes may pass today, and count them if they may."""
        total = self._today() + size_bytes
        if total > self._most:
            return False
        write_private(self._path, json.dumps({"day": _day(), "bytes": total}))
        return True

    def _today(self) -> int:
        try:
            content = json.loads(self._path.read_text())
            return int(content["bytes"]) if content["day"] == _day() else 0
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError):  # a damaged count permits nothing more today
            write_private(self._path, json.dumps({"day": _day(), "bytes": self._most}))
            return self._most


def _day() -> str:
    return datetime.now(UTC).date().isoformat()


def _renamed(policy: object) -> object:
    """Return a policy by the names of today: fedtailor wrote the old ones."""
    if not isinstance(policy, Mapping):
        return policy
    for old, new in OLD_NAMES["policy"].items():
        if {old, new} <= set(policy):
            raise SettingError(f"policy.{old} is an old name of policy.{new}, and both are there; leave {old} out")
    return with_new_names("policy", policy)


def _known(cls: type, content: object, place: str) -> dict[str, Any]:
    names = [item.name for item in fields(cls)]
    if not isinstance(content, Mapping):
        raise SettingError(f"{place} must be a mapping of settings ({', '.join(names)}); got {str(content)[:60]!r}")
    strange = sorted(set(content) - set(names))
    if strange:
        prefix = "policy." if cls is Policy else ""
        raise SettingError(f"{prefix}{strange[0]} is no setting of a site; known are {', '.join(names)}")
    return dict(content)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingError(f"the key {twice!r} stands there twice; leave one of them")
    return dict(pairs)


def _no_number(text: str) -> float:
    raise SettingError(f"{text} is no number")
