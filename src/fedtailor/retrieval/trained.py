"""What a run has trained for retrieval, named by the run: an adapter on the question's side of the embedder, or a reader that marks answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SettingError
from ..models import choose_device, load_backbone
from ..tasks import Extraction
from ..tuning import Full, attach_saved
from ..yaml_text import read_yaml_file
from .embedder import Embedder, embedder_of
from .passages import Span, sentences
from .readers import MOST_PASSAGES, Answer, Evidence
from .search import Hit

QUERY, SPAN = "retrieval", "extraction"  # tasks
ADAPTER, MODEL, JOB = "adapter", "model", "job.yaml"
NOTHING = Answer(text="", evidence=[], supported=False)


@dataclass(frozen=True, kw_only=True)
class SpanReader:
    """Marks the answer in the best passages: it stands there word for word, so it is always supported."""

    task: Extraction
    model: Any
    tokenizer: Any

    def read(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[Answer]:
        """Return the answer to each question: of its best passages, the words with the largest logits."""
        places = [(n, place) for n, some in enumerate(hits) for place in range(min(len(some), MOST_PASSAGES))]
        places = [(n, place) for n, place in places if hits[n][place].passage.text.strip()]
        texts = [hits[n][place].passage.text for n, place in places]
        spans = self.task.marked(
            self.model, self.tokenizer, [(questions[n], text) for (n, _), text in zip(places, texts, strict=True)]
        )
        best: dict[int, tuple[float, int, Span]] = {}
        for (n, place), (first, last, score) in zip(places, spans, strict=True):
            if n not in best or score > best[n][0]:
                best[n] = (score, place, (first, last))
        return [self._answer(hits[n], best[n]) if n in best else NOTHING for n in range(len(questions))]

    def _answer(self, hits: Sequence[Hit], best: tuple[float, int, Span]) -> Answer:
        _, place, (begin, end) = best
        hit = hits[place]
        words = " ".join(hit.passage.text[begin:end].split())
        sentence = next((one for one in sentences(hit.passage.text) if words in one), words)
        return Answer(text=words, evidence=[Evidence(text=sentence, hit=place, cosine=hit.cosine)], supported=bool(words))


def span_reader(run: Path) -> SpanReader:
    """Return the reader that a run of task: extraction has trained.

    Raises:
        SettingError: if it is no such run, or has not ended.
    """
    job = _job_of(run, SPAN, "task.reader")
    whole = (run / MODEL).is_dir()
    if not whole and not (run / ADAPTER).is_dir():
        raise SettingError(f"task.reader: {run} has no {MODEL} or {ADAPTER} yet; wait for its end, or resume it")
    loaded = load_backbone(
        str(job["backbone"]),
        kind=Extraction.backbone,
        device=choose_device("auto"),
        base=Path(str(job.get("base", "."))),
        seed=0,
        trust_times=True,
    )
    if whole:
        Full().restore(loaded.model, run / MODEL)
    model = loaded.model if whole else attach_saved(loaded.model, run / ADAPTER).eval()
    return SpanReader(task=Extraction(max_tokens=job["task"]["max_tokens"]), model=model, tokenizer=loaded.processor)


def is_run(path: str) -> bool:
    """Return whether a reader's name is the folder of a run."""
    return (Path(path) / JOB).is_file()


def query_embedder(run: Path, backbone: str, base: Path) -> Embedder:
    """Return the embedder of questions that a run has trained; passages are embedded as before.

    Args:
        run: the folder of a run of task: retrieval.
        backbone: the name of the embedder, as jobs have it.
        base: that its path is relative to.

    Raises:
        SettingError: if it is no such run, or its adapter does not fit the embedder.
    """
    _job_of(run, QUERY, "protocol.query")
    if not (run / ADAPTER).is_dir():
        raise SettingError(f"protocol.query: {run} has no {ADAPTER} yet; wait for its end, or resume it")
    loaded = load_backbone(backbone, kind="embedder", device=choose_device("auto"), base=base, seed=0, trust_times=True)
    found = embedder_of(loaded.model, loaded.processor)
    attach_saved(loaded.model, run / ADAPTER).eval()  # PEFT puts its layers into the model itself
    return found


def _job_of(run: Path, task: str, setting: str) -> Mapping[str, Any]:
    """Return the job of a run of one task.

    Raises:
        SettingError: if it is none.
    """
    job = read_yaml_file(run / JOB, "the job of a run", tip=f"{setting} names the folder of a run of task: {task}")
    found = job.get("task") if isinstance(job, Mapping) else None
    kind = found.get("kind") if isinstance(found, Mapping) else None
    if kind != task:
        raise SettingError(f"{setting}: {run} is a run of task: {kind}; name one of task: {task}")
    return dict(job)
