"""What a person asks for: one validated record of all settings of a run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Field, GetCoreSchemaHandler, Strict, ValidationError
from pydantic_core import CoreSchema

from ..data import Clients, Data
from ..errors import SettingError
from ..interfaces import Phase, Protection, Settling, Tuning
from ..limits import Few
from ..metrics.figure import scores_answers
from ..personalization import Personalization, Shared
from ..phases import check_phases
from ..protocols import Averaging, Settings
from ..tasks.evaluation import Evaluation
from ..text_files import expanded
from ..tracking import NAMES
from ..tracking.trackers import Name
from ..tuning import Lora, usual_head_learning_rate, usual_learning_rate
from ..yaml_text import apply_override, example_job, put, read_yaml_file, write_yaml
from .faults import explain, known_settings, listed, nearest, short
from .named_paths import check_paths
from .readers import STRICT
from .registries import PERSONALIZATION, PHASE, PROTECTION, PROTOCOL, READERS, TASK, TUNING
from .stop import Stop
from .together import check_job, check_kinds, with_usual

MOST_NAME = 100  # characters; the run folder adds the time
NAME = re.compile(rf"(?=.*[^\W_])[\w.-]{{1,{MOST_NAME}}}")

__all__ = ["Job", "Stop", "example_job"]


@dataclass(frozen=True)
class Reads:
    """Makes pydantic read a field of the job by `type`, which `READERS` made of the settings' own dataclasses."""

    type: Any

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(self.type)


def as_list(value: object) -> object:
    """Return what a job lists; one that stands by itself is a list of one."""
    return () if value is None else value if isinstance(value, list | tuple) else (value,)


def as_names(value: object) -> object:
    """Return what a job lists; none of the trackers, all of them, or one by itself."""
    return {"none": (), "all": NAMES}.get(value, (value,)) if isinstance(value, str) else () if value is None else value


class Job(BaseModel):
    """All settings of one run. Every section has defaults but these: backbone, task, data."""

    model_config = STRICT

    name: str = Field("job", description="names the run folder; left out: the name of the job file")
    backbone: str = Field(description="a packaged name (smollm2-135m, minilm-l6), a folder, a GGUF file, or a hub id")
    task: Annotated[Any, Reads(READERS.technique(TASK))]
    data: Annotated[Data, Reads(READERS.section(Data))]
    clients: Annotated[Clients, Reads(READERS.section(Clients))] = Field(default_factory=Clients)
    tuning: Annotated[Tuning, Reads(READERS.technique(TUNING, "lora"))] = Field(default_factory=Lora)
    protocol: Annotated[Settings, Reads(READERS.technique(PROTOCOL, "averaging"))] = Field(default_factory=Averaging)
    personalization: Annotated[Personalization, Reads(READERS.technique(PERSONALIZATION, "none"))] = Field(default_factory=Shared)
    protection: Annotated[
        tuple[Protection, ...],
        Reads(Annotated[tuple[READERS.technique(PROTECTION), ...], Strict(False), BeforeValidator(as_list)]),
    ] = Field((), description="what happens to an update before it leaves, in order")
    after: Annotated[
        tuple[Phase, ...], Reads(Annotated[tuple[READERS.technique(PHASE), ...], Strict(False), BeforeValidator(as_list)])
    ] = Field((), description="what is done after the last round, in order: classes of your own")
    evaluation: Annotated[Evaluation, Reads(READERS.section(Evaluation))] = Field(default_factory=Evaluation)
    stop: Annotated[Stop, Reads(READERS.section(Stop))] = Field(default_factory=Stop)
    report_to: Annotated[tuple[Name, ...], Reads(Annotated[tuple[Name, ...], Strict(False), BeforeValidator(as_names)])] = Field(
        (), description="experiment trackers that get the server's figures of each round: tensorboard, mlflow, wandb, trackio"
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:N or mps")
    precision: Literal["auto", "float32", "bfloat16", "4bit"] = Field("auto", description="of the frozen backbone")
    threads: Literal["auto"] | Few = Field("auto", description="processor threads; the same bits need the same threads")
    seed: int = Field(0, ge=0, lt=2**63, description="of every draw: two runs with one seed give the same bits")
    base: Annotated[Path, Strict(False)] = Field(
        default_factory=Path.cwd, description="folder that paths are relative to; left out: that of the job file"
    )

    def __init__(self, **settings: Any) -> None:
        """Check all settings; raises SettingError, one paragraph on all that is wrong."""
        try:
            super().__init__(**with_usual(settings))
        except ValidationError as error:
            raise SettingError(
                explain(error.errors(), settings, list(dict.fromkeys(known_settings(type(self), settings))))
            ) from None
        self._check()

    def _check(self) -> None:
        """Hold settings of different sections against each other."""
        if not NAME.fullmatch(self.name):
            raise SettingError(
                f"name is part of a folder's name: at most {MOST_NAME} letters, digits, - _ and . alone, and one letter or digit at least; "
                f"got {short(self.name)}."
            )
        check_paths(self)
        for part in self.protection:
            if not isinstance(part, get_args(Protection)):
                raise SettingError(
                    f"protection names {type(part).__name__}, which has none of the parts of a protection: leave and arrive, shape, around or on_sum."
                )
        check_phases(self.after)
        if self.threads != "auto" and self.threads < 1:
            raise SettingError(f"threads must be at least 1, or auto; got {self.threads}.")
        check_job(self)
        tasks = [self.task, *(own.task for own in self.clients.overrides.values() if own.task is not None)]
        check_kinds(self.task, self.clients.overrides)
        allowed = list(dict.fromkeys(["loss", *(metric for task in tasks for metric in task.metrics)]))
        if self.evaluation.own_metrics and not any(scores_answers(task.figures) for task in tasks):
            raise SettingError(
                f"evaluation.metrics names {self.evaluation.own_metrics[0].name!r}, a class of its own, and the task {self.task.kind} has neither "
                "texts nor classes to score; choose among " + listed(allowed) + "."
            )
        for metric in self.evaluation.metrics or ():
            if isinstance(metric, str) and metric not in allowed:
                near = nearest(metric, allowed)
                raise SettingError(
                    f"evaluation.metrics names {metric!r}, which the task {self.task.kind} does not measure; "
                    + (f"did you mean {near}?" if near else f"it measures {listed(allowed)}.")
                )

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> "Job":
        """Return the job in a YAML file, with `section.setting=value` overrides put on top.

        Raises:
            SettingError: if the file cannot be read, or anything in it is wrong.
        """
        file = Path(path)
        raw = read_yaml_file(file, "the job file", tip=_tip_beside(file))
        if not isinstance(raw, Mapping):
            raise SettingError(
                f"{file}: a job is a mapping of settings, such as backbone: smollm2-135m; fedtailor init writes an example."
            )
        for override in overrides:
            raw = apply_override(raw, override)
        named = {"name": re.sub(r"[^\w.-]", "-", file.stem)[:MOST_NAME], **raw}
        try:
            return cls.from_dict(named, base=file.parent)
        except SettingError as error:
            raise SettingError(f"{file}: {error}") from None

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], base: Path | None = None) -> "Job":
        """Return the job that nested mappings describe; relative paths start at `settings["base"]`, else at `base`.

        Raises:
            SettingError: one paragraph on all that is wrong.
        """
        start = (base or Path.cwd()).resolve()
        strange = [key for key in settings if not isinstance(key, str)]
        if strange:
            raise SettingError(f"{strange[0]!r} is not a setting; the keys of a job are texts.")
        given = settings.get("base")
        if isinstance(given, str) and not given.strip():
            raise SettingError(f"base is {given!r}, which names no folder; write its path, or leave base out.")
        given = given or start
        return cls(**{**settings, "base": start / given if isinstance(given, str | Path) else given})

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as mappings, lists, texts and numbers, defaults written out."""
        promises = {"task": TASK, "tuning": TUNING, "protocol": PROTOCOL, "personalization": PERSONALIZATION}
        return {name: READERS.plain(getattr(self, name), promises.get(name)) for name in type(self).model_fields} | {
            "protection": [READERS.plain(part, PROTECTION) for part in self.protection],
            "after": [READERS.plain(phase, PHASE) for phase in self.after],
        }

    def to_yaml(self) -> str:
        """Return all settings, defaults written out, as a text from which `load` makes an equal job, wherever it lies."""
        return write_yaml(self.to_dict())

    def decided(self) -> "Job":
        """Return the job with the usual learning rates of its tuning wherever one is `auto`, and what its protections replace."""
        usual = usual_learning_rate(self.tuning, self.task.backbone)
        parts = {name: getattr(self, name) for name in ("protocol", "personalization")}
        decided = {
            name: _decide(part, usual, usual_head_learning_rate(self.tuning, self.task.backbone)) for name, part in parts.items()
        }
        found = self if all(getattr(self, name) == value for name, value in decided.items()) else self.model_copy(update=decided)
        for place in range(len(self.protection)):  # each sees what those before it have replaced
            found = _settled(found, found.protection[place])
        return _settled(found, found.protocol.local.privacy)

    def replace(self, name: str, value: object) -> "Job":
        """Return the job with one setting changed: `job.replace("tuning.rank", 16)`."""
        return type(self).from_dict(put(self.to_dict(), name.split("."), value))

    def differences(self, other: "Job") -> list[str]:
        """Return the dotted names of all settings in which two jobs differ; `auto` is what it stands for."""
        return list(_differences(self.decided().to_dict(), other.decided().to_dict()))

    def path(self, name: str | Path) -> Path:
        """Return a path of the job as an absolute one."""
        return expanded(self.base, name, "a path of the job")

    @classmethod
    @cache
    def schema(cls) -> dict[str, Any]:
        """Return the JSON schema of a job file, made of the same dataclasses that read it."""
        return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | cls.model_json_schema()


def _tip_beside(file: Path) -> str:
    """Return what to try if there is no such job file."""
    try:
        beside = sorted(p.name for p in file.parent.glob("*.y*ml"))
    except (OSError, ValueError):
        beside = []
    return f"there is {listed(beside[:5])}" if beside else "fedtailor init writes one to start from"


def _settled(job: Job, part: object) -> Job:
    """Return the job with what one of its protections replaces."""
    found = part.settles(job) if isinstance(part, Settling) else {}
    return job if all(getattr(job, name) == value for name, value in found.items()) else job.model_copy(update=found)


def _decide(settings: Any, learning_rate: float, of_head: float | None) -> Any:
    """Return a dataclass of settings, and those inside it, with the number in the place of each learning rate that is `auto`."""
    found = {item.name: getattr(settings, item.name) for item in fields(settings) if item.init}
    changed = {name: _decide(value, learning_rate, of_head) for name, value in found.items() if is_dataclass(value)}
    auto = found.get("learning_rate") == "auto"
    changed |= {"learning_rate": learning_rate} if auto else {}
    changed |= {"head_learning_rate": of_head if auto else None} if found.get("head_learning_rate") == "auto" else {}
    return replace(settings, **changed) if any(found[name] != value for name, value in changed.items()) else settings


def _differences(one: Any, two: Any, prefix: str = "") -> list[str]:
    if not (isinstance(one, Mapping) and isinstance(two, Mapping)):
        return [] if one == two else [prefix]
    names = [*one, *(name for name in two if name not in one)]
    return [
        found
        for name in names
        for found in _differences(one.get(name), two.get(name), f"{prefix}.{name}" if prefix else str(name))
    ]
