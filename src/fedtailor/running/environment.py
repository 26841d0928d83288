"""What a run was made with: versions, device, hashes. The same bits need the same."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from ..assembly import Parts
from ..tasks.asked import speaks_chat
from ..tasks.text.chat import writes_time
from .resume import READING, data_hash

PACKAGES = ("fedtailor", "torch", "transformers", "peft", "safetensors", "tokenizers", "numpy", "sacrebleu")


def describe_environment(parts: Parts) -> dict[str, Any]:
    """Return plain values for environment.json."""
    return {
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": str(parts.worker.device),
        "gpu": torch.cuda.get_device_name() if parts.worker.device.type == "cuda" else None,
        "precision": parts.precision,
        "threads": torch.get_num_threads(),
        "backbone": {"name": parts.backbone.name, "parameters": parts.backbone.parameters, **parts.backbone.hashes},
        **({"own_backbones": own} if (own := _own_backbones(parts)) else {}),
        "clock": _clock(parts),
        "data": data_hash(parts),
        "reading": READING,
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _own_backbones(parts: Parts) -> dict[str, Any]:
    return {
        client: {"name": own.name, "parameters": own.parameters, **own.hashes} for client, own in parts.clients.backbones.items()
    }


def _clock(parts: Parts) -> str | None:
    """Return the moment that the chat template writes as now; None if it writes none."""
    task: Any = parts.worker.task
    workers = (parts.worker, *(own.worker for own in parts.clients.differing.values()))
    return task.clock if speaks_chat(task) and any(writes_time(one.processor) for one in workers) else None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
