"""Counts of steps, kept in the user's cache: they follow from the model's shape, the tuning, the task and the batch, and from no data.

So a run finds what `fedtailor check` counted, and a second run what the first one did.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from ..assembly import Parts
from ..errors import BackboneError
from ..learning.worker import Worker
from ..records import ClientId
from ..storage import text_sha256
from ..tasks.shard import Shard
from ..user_cache import count_folder, keep_private
from .means import Speed
from .shapes import Operations
from .speed import measure_speed
from .step import Count, Size, StepCount, batches_size, count_step, longest_rows

FORM = "1"  # of an entry


def counts_of(parts: Parts, *, fresh: bool = True, warn: Callable[[str], None] = lambda text: None) -> dict[int, StepCount]:
    """Return what a step of each worker costs, by the worker's id.

    Args:
        fresh: whether what is not in the cache is counted, which takes seconds; else it is left out.
        warn: called with the reason why a worker cannot be counted.
    """
    found: dict[int, StepCount] = {}
    if not parts.protocol.trains:
        return found
    for worker, shard in _workers(parts):
        key, count = _key(parts, worker, shard), None
        entry = _read(key)
        if entry is not None:
            with suppress(KeyError, TypeError):
                count = StepCount(**{name: _count(entry[name]) for name in ("train", "evaluate")})
        if count is None and fresh:
            local = parts.protocol.local
            try:
                count = count_step(worker, shard, batch_size=local.batch_size, checkpointing=local.checkpointing)
            except BackboneError as fault:
                warn(str(fault))
                continue
            _write(key, asdict(count))
        if count is not None:
            found[id(worker)] = count
    return found


def speed_of(parts: Parts, counts: Mapping[int, StepCount], *, fresh: bool = True) -> Speed | None:
    """Return the operations a second of this machine in a step of the first worker; None if it is not known and not to be measured.

    Args:
        fresh: whether it is measured, in at most three steps of each kind of work.
    """
    found = [(worker, shard) for worker, shard in _workers(parts) if id(worker) in counts] if parts.protocol.trains else []
    if not found:
        return None
    worker, shard = found[0]
    key = f"{_key(parts, worker, shard)}-speed"
    if fresh:
        speed = measure_speed(worker, shard, counts[id(worker)], batch_size=parts.protocol.local.batch_size)
        _write(key, asdict(speed))
        return speed
    entry = _read(key)
    with suppress(TypeError):
        return None if entry is None else Speed(**entry)
    return None


def _workers(parts: Parts) -> list[tuple[Worker, Shard]]:
    """Return each worker once, with the training examples of the client that has the longest one."""
    found: dict[int, tuple[Worker, ClientId]] = {}
    amounts = parts.clients.amounts
    for info in parts.sampler.clients:
        worker, has = parts.clients.own_of(info.id).worker, amounts.get(info.id)
        if has is None or not has.train:
            continue
        before = found.get(id(worker))
        if before is None or has.longest > amounts[before[1]].longest:
            found[id(worker)] = (worker, info.id)
    return [(worker, parts.clients.prepare(client).train) for worker, client in found.values()]


def _key(parts: Parts, worker: Worker, shard: Shard) -> str:
    """Return what names an entry: all that a count follows from."""
    local, job = parts.protocol.local, parts.job.to_dict()
    shapes = sorted((name, str(tensor.dtype), list(tensor.shape)) for name, tensor in worker.model.state_dict().items())
    trained = sorted(worker.params)
    sizes = [
        asdict(batches_size(shard, [longest_rows(shard, count)])) for count in (local.batch_size, worker.evaluation.batch_size)
    ]
    seen: list[Any] = [
        FORM,
        version("torch"),
        version("transformers"),
        version("peft"),
        type(worker.model).__name__,
        shapes,
        trained,
    ]
    seen += [str(worker.device), worker.bfloat16, local.checkpointing, job["task"]["kind"], job["tuning"], sizes]
    return text_sha256(json.dumps(seen, default=str))


def _count(entry: Mapping[str, Any]) -> Count:
    return Count(**{**entry, "size": Size(**entry["size"]), "operations": Operations(**entry["operations"])})


def _read(key: str) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        found = json.loads((count_folder() / f"{key}.json").read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else None
    return None


def _write(key: str, value: object) -> None:
    with suppress(OSError):
        keep_private(count_folder() / f"{key}.json", json.dumps(value).encode())
