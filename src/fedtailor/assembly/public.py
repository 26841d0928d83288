"""The public examples of a job that distils: loaded, held against the data of its owners."""

from collections.abc import Callable, Collection, Iterable, Sequence

from ..chance import stream
from ..data.columns import Reads, wanted_columns
from ..data.divide import Divided
from ..data.load import Loaded, load
from ..errors import DataError, SettingError
from ..job import Job
from ..protocols.distillation.settings import REST
from ..records import ClientId, Example
from ..tasks.task import reads_of

OPTIONAL_HERE = "label"  # public examples may lack it: they are then learned from by KL alone


def load_public(job: Job, divided: Divided, warn: Callable[[str], None]) -> list[Example]:
    """Return the job's public examples, in the order of their source; none if its protocol has no use for them.

    Raises:
        DataError: if they are missing, or lack a column that the task needs.
        SettingError: if they are to be the rest of the training rows, and there is none.
    """
    wanted = job.protocol.public_examples
    if wanted is None:
        return []
    if divided.public is not None:
        return list(divided.public)
    key, (source, limit) = job.task.required[0], wanted
    if source == REST:
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
        examples = _load(job, source, warn)
        own = [*divided.train.values(), *divided.validation.values(), *divided.test.values()]
        _check_private(_inputs([examples], key), _inputs(own, key), source, warn)
        shared = len(_inputs([examples], key) & _inputs([divided.server_test], key))
        if shared:
            warn(f"{shared} inputs of the public examples stand in the test file too: its figures flatter the model")
    return _limited(examples, limit, job.seed, warn)


def known_examples(divided: Divided, public: Sequence[Example], *, without: Collection[ClientId] = ()) -> list[Example]:
    """Return all examples but those of tests, public ones without a label apart: what a task takes from the data is the same for all, and
    no test has a part in it, nor has a client of another task, as `without` names."""
    sides = (divided.train, divided.validation)
    own = [part for parts in sides for client, part in parts.items() if client not in without]
    filled = [example for example in public if OPTIONAL_HERE in example.fields]
    return [example for part in (*own, divided.server_validation, filled) for example in part]


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
        text, advice, _ = str(error).replace("data.public", "protocol.public").partition("say which column it is")
        more = "rename the column in that file: data.columns would hold for all files" if advice else ""
        named = text if "protocol.public" in text else f"protocol.public: {text}"
        raise DataError(f"{named}{more}") from None  # the loader names parts of `data`
    if not found.examples:
        raise DataError(f"protocol.public: {source} has no examples; give a file with at least one")
    for text in (*found.notes, *(f"{number:,} {reason} are left out" for reason, number in found.dropped.items())):
        warn(f"protocol.public: {text}")
    return found.examples


def _check_private(inputs: set[object], private: set[object], source: object, warn: Callable[[str], None]) -> None:
    """Report how many public inputs clients train on.

    Raises:
        SettingError: if all are: then the file is that of the clients.
    """
    both = len(inputs & private)
    if both == len(inputs):
        raise SettingError(
            f"protocol.public: all {both} inputs of {source} are rows of clients, and everybody would see them; name a file of examples that "
            "everybody may see, or set public: rest and data: {limit: {train: N}}"
        )
    if both:
        warn(
            f"{both} of {len(inputs)} public inputs are rows of clients too, and everybody sees them; leave them out of one of the two"
        )


def _limited(examples: list[Example], most: int | None, seed: int, warn: Callable[[str], None]) -> list[Example]:
    if most is not None and most > len(examples):
        warn(f"protocol.public_limit is {most:,}, and there are {len(examples):,} public examples: all of them are taken")
    if most is None or most >= len(examples):
        return examples
    kept = stream(seed, "limit-public").choice(len(examples), size=most, replace=False)
    return [examples[row] for row in sorted(kept.tolist())]


def _inputs(parts: Iterable[Sequence[Example]], key: str) -> set[object]:
    return {example.fields.get(key) for part in parts for example in part}
