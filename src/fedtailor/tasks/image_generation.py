"""The task of making pictures like those of the clients, of a class that is asked for or of none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch

from ..errors import DataError, SettingError
from ..limits import Width
from ..metrics.figure import OF_PICTURES
from ..pairs import USUAL_NEEDS, Need
from ..pictures import DISCRIMINATOR, Canvas, Picture
from ..records import Example
from ..text_files import expanded
from .evaluate import metrics_of
from .evaluation import Measured, Pass
from .images.compare import asked_labels, compare
from .images.samples import make_pictures
from .images.shard import PictureBatch, PictureShard, picture_batch, pictures_of
from .images.ways import Shown, way_of
from .labels import class_numbers, found_labels, read_labels
from .losses import Losses
from .shard import Shard
from .task import Bench, Objective

TRAINS_HOME = Need(
    word="trains-home",
    name="task.discriminator: home",
    why="each client's discriminator is trained beside the shared generator",
    remedy="choose personalization: none or fedper, or set task.discriminator: averaged",
)


@dataclass(frozen=True, kw_only=True)
class ImageGeneration:
    """Noise to pictures: in many steps by flow matching or diffusion, or in one by a generator that a discriminator teaches."""

    kind: Literal["image-generation"] = "image-generation"
    size: Width = (
        32  # side of the square that the model makes, in pixels; larger pictures are made smaller, of others the middle is taken
    )
    enlarge: bool = False  # whether pictures smaller than that are made larger; else they are left out
    condition: Literal["class", "none"] = "class"  # what a picture is asked for by: its label, or nothing
    labels: Sequence[str] | str | None = None  # names in the order of their numbers; or a JSON or text file; None: from the data
    label_dropout: float = 0.1  # share of the pictures in training whose label is not shown, in [0, 1); guidance needs it
    objective: Literal["flow", "epsilon", "v", "adversarial"] | None = (
        None  # what the model learns: the direction from pictures to noise, the noise, or v; adversarial: a GAN; null: what the backbone's scheduler says
    )
    discriminator: Literal["home", "averaged"] = (
        "home"  # of a GAN: each client keeps its own, or it is averaged as the generator is
    )
    flip: bool = True  # whether half of the pictures in training are mirrored; wrong for letters, digits and X-rays

    variants: ClassVar[Sequence[Mapping[str, object]]] = (
        {},
        {"objective": "adversarial", "condition": "none"},
    )  # that the table of pairs distinguishes
    optional: ClassVar[tuple[str, ...]] = ()
    context: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[tuple[str, ...]] = ()
    running: ClassVar[bool] = False
    metrics: ClassVar[tuple[str, ...]] = ("loss", *OF_PICTURES)
    default_metrics: ClassVar[tuple[str, ...]] = ("loss",)

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 4:
            raise SettingError(f"size is a whole number of pixels, at least 4; got {self.size!r}; 32 is usual for CIFAR-10")
        if self.condition not in ("class", "none"):
            raise SettingError(f"condition is class or none, got {self.condition!r}")
        if self.objective not in (None, "flow", "adversarial"):
            raise SettingError(
                f"objective is flow, adversarial, or null for what the backbone was made for; got {self.objective!r}"
            )
        if self.discriminator not in ("home", "averaged"):
            raise SettingError(f"discriminator is home or averaged, got {self.discriminator!r}")
        if self.adversarial and self.condition != "none":
            raise SettingError("objective: adversarial makes pictures of no label; set condition: none")
        if (
            isinstance(self.label_dropout, bool)
            or not isinstance(self.label_dropout, int | float)
            or not 0 <= self.label_dropout < 1
        ):
            raise SettingError(f"label_dropout is a share from 0 to below 1, got {self.label_dropout!r}; 0.1 is usual")
        if self.labels is None or isinstance(self.labels, str):
            return
        if self.condition == "none":
            raise SettingError("labels have no use with condition: none; leave them out, or set condition: class")
        names = tuple(str(name) for name in self.labels)
        if len(names) < 2 or len(set(names)) < len(names):
            raise SettingError(f"labels are at least two distinct names, or the path of a file of names; got {self.labels!r}")
        object.__setattr__(self, "labels", names)

    @property
    def adversarial(self) -> bool:
        """Whether the model is a GAN."""
        return self.objective == "adversarial"

    @property
    def gives(self) -> Mapping[str, bool | str]:
        """What others may need of it; see `pairs`."""
        if not self.adversarial:
            return {}
        return {
            "one-loss": "where a GAN has two",
            "held-out-loss": "where neither loss of a GAN says how good its pictures are",
        }

    @property
    def needs(self) -> Sequence[Need]:
        """What it needs of others; see `pairs`."""
        return (*USUAL_NEEDS["task"], *((TRAINS_HOME,) if self.adversarial and self.discriminator == "home" else ()))

    def stays_home(self, names: Sequence[str]) -> frozenset[str]:
        """Return which of the exchanged weights each client keeps: of a GAN those of the discriminator, unless it is averaged."""
        keeps = self.adversarial and self.discriminator == "home"
        return frozenset(name for name in names if keeps and DISCRIMINATOR in name.split("."))

    @property
    def figures(self) -> tuple[str, ...]:
        """Every name that an evaluation may report."""
        return ("examples",) if self.adversarial else ("loss", "examples")

    @property
    def backbone(self) -> str:
        """The kind of backbone that it needs: a name of `models.kinds`."""
        return "gan" if self.adversarial else "denoiser"

    @property
    def required(self) -> tuple[str, ...]:
        """The fields that each example has."""
        return ("image", "label") if self.condition == "class" else ("image",)

    def resolve(self, examples: Sequence[Example], base: Path) -> Self:
        """Return the task with its labels written out; see `Classification.resolve`."""
        return self if self.condition == "none" else replace(self, labels=self.labels_of(examples, base))

    def labels_of(self, examples: Sequence[Example], base: Path = Path()) -> tuple[str, ...]:
        """Return the names of the classes in the order of their numbers; none where nothing is asked for."""
        if self.condition == "none":
            return ()
        if isinstance(self.labels, str):
            return read_labels(expanded(base, self.labels, "task.labels"))
        return tuple(self.labels) if self.labels is not None else found_labels(examples)

    def prepare(self, examples: Sequence[Example], processor: Canvas, *, keep_examples: bool) -> PictureShard:
        """Return the pictures at the size of the model, and the numbers of their classes.

        Raises:
            DataError: if a label is none of the known ones, or an example has no picture.
            SettingError: if the model is for another size.
        """
        if processor.size != self.size:
            raise SettingError(
                f"task.size is {self.size}, and the backbone makes pictures of {processor.size} × {processor.size}; set task.size: {processor.size}, or "
                "name another backbone"
            )
        if self.objective not in (None, processor.answers):
            raise SettingError(
                f"task.objective is {self.objective}, and the backbone was made to answer with {processor.answers}, as its scheduler_config.json says; "
                "leave task.objective out"
            )
        kept: list[Example] = []
        pixels, seeds, dropped = [], [], []
        for example in examples:
            picture = _picture_in(example)
            if min(picture.width, picture.height) < self.size and not self.enlarge:
                dropped.append(
                    (example.id, f"its picture is smaller than task.size = {self.size} (task.enlarge: true makes it larger)")
                )
                continue
            kept.append(example)
            pixels.append(picture.fitted(self.size))
            seeds.append(int(picture.sha256[:15], 16))
        shape = (len(pixels), self.size, self.size, 3)
        labels = None if self.condition == "none" else torch.tensor(class_numbers(kept, self.labels_of(())), dtype=torch.int64)
        return PictureShard(
            pixels_NCHW=torch.from_numpy(np.array(pixels, dtype=np.uint8).reshape(shape)).permute(0, 3, 1, 2).contiguous(),
            seeds_N=torch.tensor(seeds, dtype=torch.int64),
            labels_N=labels,
            examples=tuple(kept) if keep_examples else (),
            dropped=tuple(dropped),
        )

    def batch(self, worker: Bench, shard: Shard, rows: Sequence[int]) -> PictureBatch:
        """Return the pictures numbered `rows` on the worker's device."""
        return picture_batch(pictures_of(shard), rows, worker.device)

    def objectives(self, worker: Bench) -> Sequence[Objective]:
        """Return the losses of the backbone's way of learning: one, or those of a generator and its discriminator."""
        return way_of(worker.processor).objectives(worker, Shown(flip=self.flip, label_dropout=self.label_dropout))

    def losses(self, worker: Bench, shard: Shard, how: Pass) -> Losses:
        """Return the sums of the held-out loss over `shard`; none where there is no such loss."""
        return way_of(worker.processor).losses(worker, pictures_of(shard), how) or Losses(total=0.0, counted=0, predicted={})

    def measure(self, worker: Bench, shard: Shard, how: Pass) -> Measured:
        """Return the loss, if there is one that says how good a model is, and where pictures are wanted what they are like beside those of `shard`."""
        losses = how.known if how.texts_alone else how.known or self.losses(worker, shard, how)
        figures: dict[str, float] = {}
        if losses is not None and not how.texts_alone:
            figures = {**({"loss": losses.total / losses.counted} if losses.counted else {}), "examples": len(shard)}
        asked = [name for name in metrics_of(self, worker.evaluation) if name in OF_PICTURES]
        if not how.generate or not asked:
            return Measured(figures=figures, losses=losses)
        found = compare(worker, pictures_of(shard), asked, None if how.train is None else pictures_of(how.train))
        return Measured(figures={**figures, **found.figures}, losses=losses, notes={"classes": found.histogram})

    def draw(self, worker: Bench, shard: Shard) -> Any:
        """Return the pictures of the sheet that a run keeps, uint8 [N, size, size, 3], of labels that `shard` has, or of all if it is empty."""
        rows, columns = worker.evaluation.samples.grid or (0, 0)
        labels = asked_labels(worker, pictures_of(shard), rows * columns)
        return make_pictures(worker.model, worker.processor, labels, worker.evaluation.samples.sampling(worker.seed))


def _picture_in(example: Example) -> Picture:
    found = example.fields.get("image")
    if not isinstance(found, Picture):
        raise DataError(f"example {example.id} has no picture under 'image', but a {type(found).__name__}; see data.columns")
    return found
