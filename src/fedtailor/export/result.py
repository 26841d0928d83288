"""The result of a run in the formats that other tools read."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import BackboneError, DataError, SettingError
from ..job import Job
from ..models import Backbone, load_backbone, reads_mean
from ..models.cache import whole_folder
from ..models.quiet import quiet_transformers
from ..pictures import Canvas
from ..run_files import check_sealed, found_at, how_to_resume
from ..tasks import pooling_of
from ..tasks.text.generate import end_tokens
from ..tasks.text.tokenization import leading_marks
from ..tuning import Form, as_saved, keeps_weights, written
from ..tuning.asked import initial_of
from .card import model_card
from .check import Reader, Sample, check_loads, take_sample
from .forms import check_early, check_form, check_possible, mean_in_config, needs_pooling, other_form
from .prompt import write_prompt
from .usage import Use
from .write import write_files


@dataclass(frozen=True, kw_only=True)
class Customized:
    """A finished run, loaded: what it was asked for, what it measured, and the model it made."""

    job: Job
    summary: dict[str, Any]
    backbone: Backbone  # its model is the one below
    model: nn.Module  # with the tuning in place, in float32, in evaluation mode
    adapter: Path  # the folder of what was trained: an adapter's, or with full tuning a model's

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes in the order of their numbers; none if there are no classes."""
        return _labels(self.adapter)

    @contextmanager
    def untuned(self) -> Iterator[nn.Module]:
        """Give the model as it was before: this one with its adapter off where PEFT can do that, else the backbone loaded again."""
        model: Any = self.model
        if hasattr(model, "disable_adapter") and not model.active_peft_config.is_prompt_learning and keeps_weights(model):
            with model.disable_adapter():
                yield model
        else:
            yield _load_backbone(self.job, self.adapter).model


def export(run_folder: Path, *, to: Form | None, folder: Path) -> Path:
    """Write the result of a run to `folder`, with a model card README.md, and return the folder.

    What was written is loaded back as somebody without the run would, and compared on a sample; see `check_loads`.

    Args:
        run_folder: of a finished run.
        to: "merged", a model folder that AutoModelForCausalLM (or ...ForSequenceClassification) loads, in float32; "peft", an
            adapter folder that PeftModel.from_pretrained loads onto the backbone. With a line of fedtailor's beside: "adapter", that of a
            bottleneck adapter, for `fedtailor.tuning.load_adapter`; and "pooled" or "adapter", a model or adapter whose head reads the mean,
            for `fedtailor.models.pool_mean`. "prompt", the text that a search found. None: "prompt" where one was searched, else "merged".
        folder: absent or empty; it appears whole or not at all.

    Raises:
        SettingError: if `to` is unknown or not possible with the run's tuning, what was written does not answer as the run's model does, or
            `folder` holds files already.
        DataError: if `run_folder` is not that of a finished run.
        BackboneError: if the backbone cannot be found, or is another than the run's.
    """
    if to is not None:
        check_form(to)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError(f"the folder to export to, {folder}, is not empty; name another one")
    job, summary, result = _read_run(run_folder)
    to = to or written(job.tuning).usual
    check_early(job.tuning, to)
    if to == "prompt":
        with whole_folder(folder) as fresh:
            write_prompt(job, summary, result, fresh, name=folder.name)
        return folder
    with whole_folder(folder) as fresh, quiet_transformers():
        reader, sample, instead = _write(open_run(run_folder), fresh, to=to, name=folder.name)
        # the run's model is gone by now, and makes room for the one that is loaded back
        check_loads(fresh, to, reader, sample, instead=instead)
    return folder


def _write(done: Customized, folder: Path, *, to: Form, name: str) -> tuple[Reader, Sample, str]:
    """Write all files of an export, and return how to load them back, what must come out, and another form to try if it does not."""
    tuned: Any = done.model
    base = tuned.get_base_model() if hasattr(tuned, "get_base_model") else tuned
    tuning, pooled = done.job.tuning, needs_pooling(base)
    check_possible(tuning, to, pooled=pooled)
    reader = Reader(
        backbone=done.backbone.folder,
        kind=done.backbone.kind,
        labels=_labels(done.adapter),
        bottleneck="adapter" in written(tuning).forms,
        pooled=pooled,
        config=mean_in_config(base) if reads_mean(base) else {},
    )
    tokenizer = done.backbone.processor
    use = Use(
        to=to,
        name=name,
        labels=reader.labels,
        bottleneck=reader.bottleneck,
        pooled=pooled,
        config=reader.config,
        **_of_text(base, tokenizer),
    )
    sample = take_sample(done.model, done.backbone)
    write_files(done.model, done.adapter, done.backbone.folder, folder, to=to)
    (folder / "README.md").write_text(model_card(done.job, done.summary, use), encoding="utf-8")
    return reader, sample, other_form(tuning, to, pooled=pooled)


def _of_text(base: nn.Module, processor: Any) -> dict[str, Any]:
    """Return what code needs to know of tokens, or the canvas of pictures."""
    if isinstance(processor, Canvas):
        return {"canvas": processor}
    return {"marks": leading_marks(processor), "ends": end_tokens(base, processor), "pad": processor.pad_token_id}


def load_customized(run_folder: Path) -> nn.Module:
    """Return the model that a run made, in float32 on the CPU, in evaluation mode; see `open_run`."""
    return open_run(run_folder).model


def open_run(run_folder: Path) -> Customized:
    """Load a finished run: its job, its summary, and its backbone in float32 with what was trained in place.

    Raises:
        DataError: if there is no finished run in the folder.
        BackboneError: if the backbone cannot be found, or its weights are not those that the run started from.
    """
    job, summary, adapter = _read_run(run_folder)
    backbone = _load_backbone(job, adapter)
    _check_same_weights(backbone, summary, run_folder)
    tuning: Any = job.tuning
    if initial_of(tuning) is not None:
        tuning = replace(tuning, initial=None)
    with quiet_transformers():
        try:
            tuning = as_saved(tuning, adapter)
            model = tuning.attach(backbone.model, job.seed)
            tuning.restore(model, adapter)
        except (SettingError, OSError, ValueError, RuntimeError, KeyError) as fault:
            raise DataError(f"the adapter in {adapter} could not be loaded onto {job.backbone}: {fault}") from fault
    return Customized(job=job, summary=summary, backbone=backbone, model=model.requires_grad_(False).eval(), adapter=adapter)


def _load_backbone(job: Job, adapter: Path) -> Backbone:
    return load_backbone(
        job.backbone,
        kind=job.task.backbone,
        labels=_labels(adapter),
        pooling=pooling_of(job.task),
        device=torch.device("cpu"),
        base=job.base,
        seed=job.seed,
    )


def _read_run(folder: Path) -> tuple[Job, dict[str, Any], Path]:
    _check_there(folder, "job.yaml", "summary.json")
    check_sealed(
        folder, ("job.yaml", "summary.json", "adapter", "model", "prompt"), tip=f"put back a copy, or {how_to_resume(folder)}"
    )
    job = Job.load(folder / "job.yaml")
    result = written(job.tuning)
    _check_there(folder, *(f"{result.folder}/{name}" for name in result.files))
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise DataError(f"{folder / 'summary.json'} cannot be read ({fault}); {how_to_resume(folder)}") from fault
    if not isinstance(summary, dict):
        raise DataError(f"{folder / 'summary.json'} holds no summary; {how_to_resume(folder)}")
    return job, summary, folder / result.folder


def _check_there(folder: Path, *names: str) -> None:
    missing = next((name for name in names if not (folder / name).is_file()), None)
    if missing is None:
        return
    alone = sorted(path for path in (folder / "clients").glob("*/alone") if path.is_dir())
    if alone and (folder / "summary.json").is_file():
        raise DataError(
            f"{folder} is a local baseline and has no model of its own: each client's lies in clients/ID/alone; "
            f"name one of these folders, such as {alone[0]}"
        )
    if not (folder / "job.yaml").is_file():
        raise DataError(
            f"{folder} is not the folder of a finished run: {found_at(folder)}; a run folder is what fedtailor run prints at its end"
        )
    raise DataError(
        f"{folder} is not the folder of a finished run: it has no {missing}; if it was interrupted: {how_to_resume(folder)}"
    )


def _labels(adapter: Path) -> tuple[str, ...]:
    path = adapter / "labels.json"
    return tuple(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else ()


def _check_same_weights(backbone: Backbone, summary: dict[str, Any], run_folder: Path) -> None:
    wanted, found = summary.get("backbone_sha256"), backbone.hashes["weights"]
    if wanted is not None and wanted != found:
        raise BackboneError(
            f"backbone {backbone.name!r} in {backbone.folder} has weights of SHA-256 {found[:12]}..., the run in {run_folder} "
            f"started from {wanted[:12]}...: an adapter fits no other weights; put the old ones back"
        )
