"""The result of a run in the formats that other tools read."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from .errors import BackboneError, DataError, SettingError
from .job import Job
from .model_card import model_card
from .models import Backbone, load_backbone
from .models.cache import whole_folder
from .models.quiet import quiet_transformers

Form = Literal["merged", "peft"]
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "labels.json")


@dataclass(frozen=True, kw_only=True)
class Customized:
    """A finished run, loaded: what it was asked for, what it measured, and the model it made."""

    job: Job
    summary: dict[str, Any]
    backbone: Backbone  # its model is the one below, without the adapter while `model.disable_adapter()` holds
    model: nn.Module  # a PEFT model in float32, in evaluation mode
    adapter: Path  # its folder


def export(run_folder: Path, *, to: Form, folder: Path) -> Path:
    """Write the result of a run to `folder`, with a model card README.md, and return the folder.

    Args:
        run_folder: of a finished run.
        to: "merged", a model folder that AutoModelForCausalLM (or ...ForSequenceClassification) loads, in float32; or
            "peft", an adapter folder that PeftModel.from_pretrained loads onto the backbone.
        folder: absent or empty; it appears whole or not at all.

    Raises:
        SettingError: if `to` is unknown, or `folder` holds files already.
        DataError: if `run_folder` is not that of a finished run.
        BackboneError: if the backbone cannot be found, or is another than the run's.
    """
    if to not in ("merged", "peft"):
        raise SettingError(f"to is merged or peft, got {to!r}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError(f"the folder to export to, {folder}, is not empty; name another one")
    done = open_run(run_folder)
    with whole_folder(folder) as fresh, quiet_transformers():
        done.backbone.tokenizer.save_pretrained(fresh)
        if to == "merged":
            _write_merged(done, fresh)
        else:
            _write_adapter(done, fresh)
        (fresh / "README.md").write_text(model_card(done.job, done.summary, to=to, name=folder.name), encoding="utf-8")
    return folder


def load_customized(run_folder: Path) -> nn.Module:
    """Return the model that a run made: a PEFT model in float32 on the CPU, in evaluation mode; see `open_run`."""
    return open_run(run_folder).model


def open_run(run_folder: Path) -> Customized:
    """Load a finished run: its job, its summary, and its backbone in float32 with the adapter in place.

    Raises:
        DataError: if there is no finished run in the folder.
        BackboneError: if the backbone cannot be found, or its weights are not those that the run started from.
    """
    from peft import PeftModel

    job, summary, adapter = _read_run(run_folder)
    backbone = load_backbone(
        job.backbone,
        kind=job.task.backbone_kind,
        labels=_labels(adapter),
        device=torch.device("cpu"),
        base=job.base,
        seed=job.seed,
    )
    _check_same_weights(backbone, summary, run_folder)
    with quiet_transformers():
        try:
            model = PeftModel.from_pretrained(backbone.model, str(adapter))
        except (OSError, ValueError, RuntimeError, KeyError) as fault:
            raise DataError(f"the adapter in {adapter} could not be loaded onto {job.backbone}: {fault}") from fault
    return Customized(job=job, summary=summary, backbone=backbone, model=model.eval(), adapter=adapter)


def _read_run(folder: Path) -> tuple[Job, dict[str, Any], Path]:
    adapter = folder / "adapter"
    for path in (folder / "job.yaml", folder / "summary.json", adapter / ADAPTER_FILES[0], adapter / ADAPTER_FILES[1]):
        if not path.is_file():
            again = f"; if the run was cut off, go on with fedtailor run JOB --resume {folder}" if folder.is_dir() else ""
            raise DataError(f"{folder} is not the folder of a finished run: it has no {path.relative_to(folder)}{again}")
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise DataError(f"{folder / 'summary.json'} cannot be read ({fault}); was it written whole?") from fault
    return Job.load(folder / "job.yaml"), summary, adapter


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


def _write_merged(done: Customized, folder: Path) -> None:
    model: Any = done.model
    merged = model.merge_and_unload()
    merged.save_pretrained(folder)


def _write_adapter(done: Customized, folder: Path) -> None:
    for name in ADAPTER_FILES:
        if (done.adapter / name).is_file():
            shutil.copyfile(done.adapter / name, folder / name)
