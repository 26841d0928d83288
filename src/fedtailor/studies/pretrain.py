"""Makes a backbone for pictures from nothing: one model, trained whole on public pictures in one place."""

import json
import math
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..chance import stream
from ..data.columns import Reads, wanted_columns
from ..data.left_out import distinct, limited
from ..data.load import load
from ..errors import DataError, SettingError
from ..job import Job
from ..learning.local import LocalTraining
from ..learning.training import train_locally
from ..learning.work import Training
from ..learning.worker import Worker
from ..limits import BatchSize, Steps
from ..models import choose_device, load_backbone
from ..models.cache import whole_folder
from ..models.kinds import kind_of
from ..models.kinds.denoiser import ORIGIN
from ..models.shapes import shape_named, write_random
from ..records import Example
from ..tasks.task import Draws, reads_of
from ..tasks.text.generate import evaluating
from ..tensors import Tensors
from ..tuning import Full

HELD_OUT = 500  # most pictures that the loss is measured on
PIECES = 50  # in which the learning rate falls
OnStep = Callable[[int, int, float], None]  # step (from 1), steps, loss


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How a backbone is made, beside what the job says of pictures, task and seed."""

    shape: str = "unet-tiny"
    only: Sequence[str] = ()  # labels whose pictures are trained on; none: all
    steps: Steps = 1500  # of the optimizer
    batch_size: BatchSize = 32

    def __post_init__(self) -> None:
        shape_named(self.shape)
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is a whole number, at least 1; got {getattr(self, name)}")

    @property
    def decay(self) -> float:
        """The share of the running mean of the weights that a step leaves: 0.99 of 1,000 steps or fewer, 0.999 of 10,000."""
        return min(0.9999, max(0.99, 1 - 10 / self.steps))


def pretrain(
    job: Job, folder: Path, how: Pretraining, *, on_step: OnStep | None = None, doing: Callable[[str], None] = lambda what: None
) -> dict[str, Any]:
    """Write a model of pictures that was trained on `data.train` of a job to `folder`, and return what pretrain.json says of it.

    AdamW, the learning rate falls along half a cosine, and what is kept is the running mean of the weights. Nothing of the job's federation
    has a part in it; its pictures are taken as public.

    Raises:
        SettingError: if the task is none of pictures, the shape does not fit it, or a label of `only` is none.
        DataError: if the pictures cannot be read or are too few.
    """
    draws = isinstance(job.task, Draws)
    if kind_of(job.task.backbone).of_texts or not draws:
        raise SettingError(
            f"task is {job.task.kind}, and pretrain makes backbones for task: image-generation alone; other backbones are downloaded"
        )
    if job.threads != "auto":
        torch.set_num_threads(job.threads)
    doing("reading the pictures")
    examples = _examples(job)
    task = job.task.resolve(examples, job.base)
    labels = task.labels_of(())
    chosen = _chosen(examples, how.only, labels)
    with whole_folder(folder) as fresh, tempfile.TemporaryDirectory() as start:
        write_random(
            how.shape, Path(start), kind=task.backbone, objective=task.objective, size=task.size, labels=labels, seed=job.seed
        )
        worker = _worker(job, task, Path(start), labels)
        doing("fitting the pictures to the model")
        shard = task.prepare(chosen, worker.processor, keep_examples=False)
        order = stream(job.seed, "pretrain").permutation(len(shard)).tolist()  # labels lie in a row in many files
        held = min(HELD_OUT, len(shard) // 10)
        if held < 1:
            raise DataError(
                f"data.train has {len(shard)} pictures to make a backbone of, at least 10 are needed; give more, or set task.enlarge: true"
            )
        train, rest = shard.select(order[held:]), shard.select(order[:held])
        loss = _train(worker, train, how, on_step)
        with torch.inference_mode(), evaluating(worker.model):
            found = worker.evaluate(rest, generate=False).figures.get("loss")
        origin = {
            "shape": how.shape,
            "only": list(how.only),
            "steps": how.steps,
            "batch_size": how.batch_size,
            "decay": how.decay,
            "seed": job.seed,
            "pictures": len(train),
            "held_out": held,
            "training_loss": loss,
            "held_out_loss": found,
            "fedtailor": version("fedtailor"),
            "sha256": sorted(str(example.fields["image"]) for example in chosen),
        }
        Full().save(worker.model, fresh)
        (fresh / ORIGIN).write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")
    return origin


def _examples(job: Job) -> list[Example]:
    """Return the pictures of `data.train`, each once, within its limit."""
    reads = Reads(**reads_of(job.task))
    found = load(job.data.train, wanted_columns(job.data, reads), base=job.base, part="train")
    once = distinct(found.examples, job.task.required, None, {})
    return limited(once, job.data.limit.get("train"), job.seed, "train")


def _chosen(examples: Sequence[Example], only: Sequence[str], labels: Sequence[str]) -> list[Example]:
    """Return the pictures of some labels, by the name or the number that the data have."""
    if not only:
        return list(examples)
    if not labels:
        raise SettingError("only names labels, and with task.condition: none no labels are read; leave it out")
    strange = [name for name in only if name not in labels]
    if strange:
        raise SettingError(f"there is no label {strange[0]!r}; the task has {', '.join(labels[:20])}")
    wanted: Collection[str] = {*only, *(str(labels.index(name)) for name in only)}
    return [example for example in examples if str(example.fields["label"]) in wanted]


def _worker(job: Job, task: Any, start: Path, labels: Sequence[str]) -> Worker:
    device = choose_device(job.device)
    backbone = load_backbone(str(start), kind=task.backbone, labels=labels, device=device, base=start, seed=job.seed)
    return Worker(
        model=Full().attach(backbone.model, job.seed),
        processor=backbone.processor,
        task=task,
        tuning=Full(),
        evaluation=job.evaluation,
        device=device,
        bfloat16=False,
        seed=job.seed,
    )


def _train(worker: Worker, shard: Any, how: Pretraining, on_step: OnStep | None) -> float:
    """Train the weights in place, set them to their running mean, and return the mean loss of the last piece."""
    params = list(worker.params.values())
    mean = [param.detach().clone() for param in params]
    pieces = min(PIECES, how.steps)
    ends = [round(how.steps * (piece + 1) / pieces) for piece in range(pieces)]
    done, loss = 0, math.nan
    moments: Tensors = {}

    def step_taken(step: int, steps: int, loss: float) -> None:
        decay = min(how.decay, (done + step) / (done + step + 10))  # the first weights are random
        torch._foreach_lerp_(mean, [param.detach() for param in params], 1 - decay)
        if on_step:
            on_step(done + step, how.steps, loss)

    for piece, end in enumerate(ends):
        local = LocalTraining(
            steps=end - done,
            batch_size=how.batch_size,
            learning_rate=shape_named(how.shape).learning_rate,
            keep_optimizer=True,
            clip_norm=None
            if worker.task.backbone == "gan"
            else 1.0,  # R1 has large gradients now and then, which are the point of it
        )
        work = Training(
            worker=worker,
            shard=shard,
            settings=local,
            round=piece + 1,
            client="pretrain",
            rate_factor=0.5 * (1 + math.cos(math.pi * piece / pieces)),
            optimizer=moments,
            on_step=step_taken,
        )
        trained = train_locally(work)
        moments, done, loss = trained.optimizer, end, sum(trained.losses) / len(trained.losses)
    with torch.no_grad():
        for param, value in zip(params, mean, strict=True):
            param.copy_(value)
    return loss
