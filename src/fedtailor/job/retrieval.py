"""A job of retrieval: which documents are dealt to which clients, and how these are asked. Nobody trains, so it has none of a training job's settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, Strict, ValidationError

from ..data.partition.iid import Iid
from ..data.partition.natural import Natural
from ..errors import SettingError
from ..limits import ClientCount
from ..protocols.retrieval import Retrieval
from ..text_files import expanded
from ..yaml_text import apply_override, read_yaml_file
from .faults import explain, known_settings
from .readers import STRICT, Readers, Registry


@dataclass(frozen=True, kw_only=True)
class QuestionAnswering:
    """Questions are answered from passages that were found."""

    kind: Literal["question-answering"] = "question-answering"
    reader: str = "best-sentence"  # or a causal backbone such as smollm2-135m, or none


@dataclass(frozen=True, kw_only=True)
class DocumentData:
    """Where documents and questions are."""

    documents: str  # a table, a row a document
    questions: str | None = None  # a table with question, and answers, passage_id or both, to evaluate with
    columns: Mapping[str, str] = field(default_factory=dict)  # id, title, text -> column of the table of documents

    def __post_init__(self) -> None:
        if unknown := sorted(self.columns.keys() - {"id", "title", "text"}):
            raise SettingError(f"columns names id, title and text; got {unknown[0]!r}")


@dataclass(frozen=True, kw_only=True)
class DocumentClients:
    """Who owns which documents."""

    count: ClientCount | None = None  # left out: one for each value of the column
    partition: Natural | Iid = field(default_factory=lambda: Natural(by="title"))

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise SettingError(f"count is a number of clients, at least 1; got {self.count!r}")
        if self.count is None and isinstance(self.partition, Iid):
            raise SettingError("partition: iid deals documents to a number of clients; set count: 8")


READERS = Readers((Registry(what="partition", classes={"natural": Natural, "iid": Iid}),))


@dataclass(frozen=True)
class Reads:
    """Has pydantic read a field by a type that `READERS` made."""

    type: Any

    def __get_pydantic_core_schema__(self, source: object, handler: Any) -> Any:
        return handler.generate_schema(self.type)


class RetrievalJob(BaseModel):
    """All settings of retrieval; only `data` has no default."""

    model_config = STRICT

    name: str = Field("job", description="names the folder of the indexes; left out: the name of the job file")
    backbone: Literal["minilm-l6"] = Field("minilm-l6", description="the embedder")
    task: Annotated[Any, Reads(READERS.section(QuestionAnswering))] = Field(default_factory=QuestionAnswering)
    data: Annotated[Any, Reads(READERS.section(DocumentData))]
    clients: Annotated[Any, Reads(READERS.section(DocumentClients))] = Field(default_factory=DocumentClients)
    protocol: Annotated[Any, Reads(READERS.section(Retrieval))] = Field(default_factory=Retrieval)
    seed: int = Field(0, ge=0, lt=2**63, description="of every draw")
    base: Annotated[Path, Strict(False)] = Field(default_factory=Path.cwd, description="folder that paths are relative to")

    def __init__(self, **settings: Any) -> None:
        """Check all settings.

        Raises:
            SettingError: one paragraph on all that is wrong.
        """
        try:
            super().__init__(**settings)
        except ValidationError as error:
            known = list(dict.fromkeys(known_settings(type(self), settings)))
            raise SettingError(explain(error.errors(), settings, known)) from None

    def path(self, name: str) -> Path:
        """Return a path of the job as an absolute one."""
        return expanded(self.base, name, "a path of the job")

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> "RetrievalJob":
        """Return the job in a YAML file, with `section.setting=value` overrides put on top.

        Raises:
            SettingError: if the file cannot be read, or anything in it is wrong.
        """
        file = Path(path)
        raw = read_yaml_file(file, "the job file")
        for override in overrides:
            raw = apply_override(raw, override)
        if not isinstance(raw, Mapping):
            raise SettingError(f"{file}: a job is a mapping of settings")
        try:
            return cls(**{"name": file.stem, "base": file.parent.resolve(), **raw})
        except SettingError as error:
            raise SettingError(f"{file}: {error}") from None


def is_retrieval(path: str | Path) -> bool:
    """Return whether a file is a job of retrieval, by its protocol."""
    file = Path(path)
    if file.suffix.lower() not in (".yaml", ".yml") or not file.is_file():
        return False
    raw = read_yaml_file(file, "the job file")
    protocol = raw.get("protocol") if isinstance(raw, Mapping) else None
    return (protocol.get("kind") if isinstance(protocol, Mapping) else protocol) == "retrieval"
