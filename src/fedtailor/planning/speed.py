"""How fast this machine is, measured in a few steps."""

import time
from collections.abc import Callable

import torch

from ..chance import stream
from ..learning.worker import Worker
from ..tasks.shard import Shard, evaluation_batches, training_batches
from .means import Speed
from .step import Count, StepCount, batches_size

STEPS, MOST_SECONDS = 3, 20.0  # that are measured of each kind of work, at most


def measure_speed(worker: Worker, shard: Shard, count: StepCount, *, batch_size: int) -> Speed:
    """Return the operations a second of training and of evaluation on batches of `shard`; weights stay as they are."""
    sizes, draw = shard.sizes_N.tolist(), stream(worker.seed, "profile")
    training = list(training_batches(sizes, batch_size, draw))[: STEPS + 1]
    evaluating = list(evaluation_batches(sizes, worker.evaluation.batch_size))[: STEPS + 1]
    mode = worker.model.training
    devices = [worker.device] if worker.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            worker.model.train()
            train = _measure(worker, shard, training, count.train, _step(worker, shard))
            worker.model.eval()
            evaluate = _measure(worker, shard, evaluating, count.evaluate, _look(worker, shard))
    finally:
        worker.model.train(mode)
        worker.model.zero_grad(set_to_none=True)
    return Speed(train=train, evaluate=evaluate, source="measured here")


def _measure(worker: Worker, shard: Shard, batches: list[list[int]], count: Count, work: Callable[[list[int]], None]) -> float:
    """Return the operations a second of `work` on batches; the first one, if there are more, is to warm up."""
    flops = seconds = 0.0
    for place, rows in enumerate([*batches, *batches[-1:]] if len(batches) == 1 else batches):
        began = time.perf_counter()
        work(rows)
        if worker.device.type == "cuda":
            torch.cuda.synchronize(worker.device)
        if place:
            seconds += time.perf_counter() - began
            flops += count.flops(batches_size(shard, [rows]))
        if seconds > MOST_SECONDS:
            break
    return flops / seconds


def _step(worker: Worker, shard: Shard) -> Callable[[list[int]], None]:
    def step(rows: list[int]) -> None:
        loss, counted = worker.loss(worker.batch(shard, rows))
        (loss / max(1, counted)).backward()  # type: ignore[no-untyped-call]

    return step


def _look(worker: Worker, shard: Shard) -> Callable[[list[int]], None]:
    def look(rows: list[int]) -> None:
        with torch.inference_mode(), worker.precision():
            worker.loss(worker.batch(shard, rows))

    return look
