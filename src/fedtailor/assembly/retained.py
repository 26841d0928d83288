"""The general text of `evaluation.retained`: read, and as tokens."""

from collections.abc import Sequence
from itertools import accumulate, takewhile

from ..data.columns import Wanted
from ..data.load import load
from ..errors import DataError
from ..job import Job
from ..learning.retained import Retained
from ..learning.worker import Worker
from ..records import Example
from ..tasks import LanguageModeling
from ..tasks.text.room import check_lengths

BLOCK = 128  # tokens in one sequence: short enough for every backbone and a prefix before it
CHARACTERS = 8  # a token is rarely longer: text beyond so many for each token that is measured is not read
SETTING = "evaluation.retained"


def load_retained(job: Job) -> list[Example]:
    """Return the first rows of the job's general text, as many as are measured; none if the job names no file.

    Raises:
        DataError: if the file is missing or unreadable, or has no text.
    """
    source, most = job.evaluation.retained, job.evaluation.retained_tokens * CHARACTERS
    if source is None:
        return []
    try:
        wanted = Wanted(required=("text",), may_be_empty=("text",), others=())
        rows = load(source, wanted, base=job.base, part="retained").examples
    except DataError as error:
        text, advice, _ = str(error).replace("data.retained", SETTING).partition("say which column it is")
        more = "rename the column in that file: its text stands in a column text" if advice else ""
        raise DataError(text + more if SETTING in text else f"{SETTING}: {text}{more}") from None
    sizes = accumulate((len(str(row.fields["text"])) for row in rows), initial=0)
    taken = [row for row, _ in takewhile(lambda pair: pair[1] < most, zip(rows, sizes, strict=False))]
    if not any(str(row.fields["text"]).strip() for row in taken):
        raise DataError(f"{SETTING}: {source} has no text; give a file with a column text, or lines of a .txt file")
    return taken


def prepare_retained(job: Job, worker: Worker, examples: Sequence[Example]) -> Retained | None:
    """Return the text as tokens, at most `evaluation.retained_tokens` of them; None without any.

    Raises:
        DataError: if there are too few of them to predict anything.
    """
    if not examples:
        return None
    task = LanguageModeling(block=BLOCK)
    shard = task.prepare(examples, worker.processor, keep_examples=False)
    if not len(shard):
        raise DataError(f"{SETTING}: {job.evaluation.retained} is too short to predict anything; give at least a sentence")
    shard = shard.select(range(min(len(shard), -(-job.evaluation.retained_tokens // BLOCK))))
    check_lengths(worker.model, task, [shard], of=SETTING)
    return Retained(task=task, shard=shard, texts=len(examples))
