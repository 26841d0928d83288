"""The public examples of a job that distils: loaded, held against the data of its owners."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from ..chance import stream
from ..data.columns import Reads, wanted_columns
from ..data.divide import Divided
from ..data.load import Loaded, load
from ..errors import DataError, SettingError
from ..job import Job
from ..learning.public_fit import LEAST_ROWS
from ..learning.worker import Worker
from ..protocols import (
    Averaging,
    AveragingRun,
    Distillation,
    DistillationRun,
    Prompting,
    PromptingRun,
    Ready,
    Split,
    SplitRun,
)
from ..protocols.distillation.settings import REST
from ..protocols.split import terms_of
from ..records import ClientId, Example
from ..tasks.task import reads_of

OPTIONAL_HERE = "label"  # public examples may lack it: they are then learned from by KL alone


def load_public(job: Job, divided: Divided, warn: Callable[[str], None]) -> list[Example]:
    """Return the job's public examples, in the order of their source; none if its protocol has no use for them.

    Raises:
        DataError: if they are missing, or lack a column that the task needs.
        SettingError: if they are to be the rest of the training rows, and there is none.
    """
    settings = job.protocol
    if not isinstance(settings, Distillation):
        return []
    if divided.public is not None:
        return list(divided.public)
    key = job.task.required[0]
    if settings.public == REST:
        if not divided.rest:
            raise SettingError(
                "protocol.public: rest stands for the training rows that data.limit.train leaves out, and it leaves none out; set data: "
                "{limit: {train: N}} below their number, or name a file of public examples"
            )
        held_out = _inputs(
            [*divided.test.values(), *divided.validation.values(), divided.server_validation, divided.server_test], key
        )
        examples = [example for example in divided.rest if example.fields.get(key) not in held_out]
        if len(examples) < len(divided.rest):
            warn(
                f"{len(divided.rest) - len(examples)} public rows are left out: their {key} stands in validation or test data too"
            )
        if not examples:
            raise SettingError(
                f"protocol.public: all {len(divided.rest)} training rows that data.limit.train leaves out are left out of the public set, as their {key} "
                "stands in validation or test data too; lower data.limit.train, or name a file of public examples"
            )
    else:
        examples = _load(job, settings.public, warn)
        shared = len(_inputs([examples], key) & _inputs([divided.server_test], key))
        if shared:
            warn(f"{shared} inputs of the public examples stand in the test file too: its figures flatter the model")
    return _limited(examples, settings.public_limit, job.seed, warn)


def ready_protocol(
    settings: Averaging | Distillation | Split | Prompting,
    worker: Worker,
    *,
    job: Job,
    public: Sequence[Example],
    divided: Divided,
    cuts: Mapping[ClientId, int],
    warn: Callable[[str], None],
) -> Ready:
    """Return the job's protocol with all that it needs besides its `settings`.

    Args:
        cuts: of the clients whose model is cut elsewhere than the job's.

    Raises:
        SettingError: if it does not go with the task, or no public example can be used.
    """
    if isinstance(settings, Split):
        split = SplitRun(terms=terms_of(settings, worker, cuts))
        warn(split.notice)
        return split
    if isinstance(settings, Prompting):
        prompting = PromptingRun(settings=settings, worker=worker, base=job.base)
        for text in prompting.method.notes(job.stop.rounds, job.stop.patience):
            warn(text)
        return prompting
    if isinstance(settings, Averaging):
        return AveragingRun(settings=settings)
    ready = DistillationRun(settings=settings, worker=worker, examples=public)
    if job.stop.keep == "best":
        warn("protocol: distillation: the last round is kept: clients no longer have their own models of an earlier one")
    if not divided.server_test:
        warn(
            "protocol: distillation: without data.test the server's own model is measured nowhere; figures are those of the clients' models"
        )
    dropped = ready.public.shard.dropped
    if dropped:
        warn(f"{len(dropped)} of {len(public)} public examples cannot be used and are left out; the first: {dropped[0][1]}")
    _check_use(ready, divided, warn)
    return ready


def _check_use(ready: DistillationRun, divided: Divided, warn: Callable[[str], None]) -> None:
    """Raise SettingError if nothing can be learned from the public examples, and tell which settings come to nothing."""
    settings, public = ready.settings, ready.public
    if settings.weight == 0 and not public.labelled:
        raise SettingError(
            f"protocol.weight: 0 learns from the labels of public examples alone, and none of the {len(public.shard):,} has one; set weight: "
            "0.5 or 1 to learn from logits, or give the public examples labels"
        )
    if settings.weight == 0 and public.labelled < len(public.shard):
        warn(f"protocol.weight: 0 learns from labels alone: {len(public.shard) - public.labelled:,} public examples have none")
    if settings.refine_every != Distillation.refine_every and not settings.refine:
        warn("protocol.refine_every does nothing without refine: label-statistics")
    least = min([len(public.shard), *map(len, divided.train.values())])
    if settings.refine and least < LEAST_ROWS:
        warn(
            f"protocol.refine: rows are scored from {LEAST_ROWS} examples on, of a client's own and of public ones, and somebody has {least}: "
            + ("label counts alone count there" if settings.label_counts else "such a client has no say in the draw")
        )


def known_examples(divided: Divided, public: Sequence[Example]) -> list[Example]:
    """Return all examples but those of tests, public ones without a label apart: what a task takes from the data is the same for all, and
    no test has a part in it."""
    own = [part for parts in (divided.train, divided.validation) for part in parts.values()]
    told = [example for example in public if OPTIONAL_HERE in example.fields]
    return [example for part in (*own, divided.server_validation, told) for example in part]


def _load(job: Job, source: object, warn: Callable[[str], None]) -> list[Example]:
    """Return the examples of a source; with labels checked as those of training data are, where all have one."""
    required, optional = list(job.task.required), list(job.task.optional)

    def loaded(needed: Sequence[str]) -> Loaded:
        others = [name for name in required if name not in needed]
        reads = Reads(**{**reads_of(job.task), "required": needed, "optional": [*optional, *others]})
        return load(source, wanted_columns(job.data, reads), base=job.base, part="public")

    try:
        found = loaded([name for name in required if name != OPTIONAL_HERE])
        if OPTIONAL_HERE in required and found.examples and all(OPTIONAL_HERE in example.fields for example in found.examples):
            found = loaded(required)
    except DataError as error:
        told, advice, _ = str(error).replace("data.public", "protocol.public").partition("say which column it is")
        more = "rename the column in that file: data.columns would hold for all files" if advice else ""
        named = told if "protocol.public" in told else f"protocol.public: {told}"
        raise DataError(f"{named}{more}") from None  # the loader names parts of `data`
    if not found.examples:
        raise DataError(f"protocol.public: {source} has no examples; give a file with at least one")
    for text in (*found.notes, *(f"{number:,} {reason} are left out" for reason, number in found.dropped.items())):
        warn(f"protocol.public: {text}")
    return found.examples


def _limited(examples: list[Example], most: int | None, seed: int, warn: Callable[[str], None]) -> list[Example]:
    if most is not None and most > len(examples):
        warn(f"protocol.public_limit is {most:,}, and there are {len(examples):,} public examples: all of them are taken")
    if most is None or most >= len(examples):
        return examples
    kept = stream(seed, "limit-public").choice(len(examples), size=most, replace=False)
    return [examples[row] for row in sorted(kept.tolist())]


def _inputs(parts: Iterable[Sequence[Example]], key: str) -> set[object]:
    return {example.fields.get(key) for part in parts for example in part}
