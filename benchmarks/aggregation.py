"""Memory of a mean over many clients' updates, and how fast it is beside torch's own addition.

Usage: aggregation.py [--out FOLDER]. Writes OUT/aggregation.json, and prints a line for each figure. Updates are made one by one, as
they would be decoded, and let go; memory is what the process holds at its peak above what it held before.
"""

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from fedtailor.aggregation import FedAvg, weighted_mean
from fedtailor.aggregation.mean import mean_delta
from fedtailor.ledger import PeakMemory
from fedtailor.records import Update
from fedtailor.tensors import Tensors, size_bytes, zeros_like

HERE = Path(__file__).parent
CLIENTS = 1000
FORMS = {  # name: tensors by (count, shape); the LoRA is that of SmolLM2-135M at rank 8 on query and value
    "one matrix of 32 MiB": {"w": (1, (2048, 4096))},
    "lora, 120 tensors, 1.8 MB": {
        "q.lora_A": (30, (8, 576)),
        "q.lora_B": (30, (576, 8)),
        "v.lora_A": (30, (8, 576)),
        "v.lora_B": (30, (192, 8)),
    },
}


def main() -> None:
    """Measure everything, write it down, and say whether both promises hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "out")
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    found: dict[str, object] = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    for name, form in FORMS.items():
        found[name] = memory(form) | speed(form, args.repeats)
        print(name, json.dumps(found[name]), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "aggregation.json").write_text(json.dumps(found, indent=2))


def memory(form: dict[str, tuple[int, tuple[int, ...]]]) -> dict[str, float]:
    """Return the peak memory of the mean of many updates and of a round of FedAvg, in sets of tensors: one sum, one update, and the new weights.

    With LoRA, FedAvg holds up to 32 MiB of factors besides, for its figure of the bias.
    """
    params = make(form)
    size = size_bytes(params)
    clients = CLIENTS if size < 10 * 2**20 else CLIENTS // 5  # what is held does not depend on it; the time does
    mean = peak_of(lambda: mean_delta(updates(params, clients)))
    whole = peak_of(lambda: FedAvg().combine(updates(params, clients), params, {}))
    return {
        "clients": clients,
        "update_bytes": size,
        "mean_in_updates": round(mean / size, 2),
        "fedavg_in_updates": round(whole / size, 2),
    }


def peak_of(work: Callable[[], object]) -> int:
    """Return the bytes that the process held at its peak during `work` above what it held before."""
    gc.collect()
    meter = PeakMemory(torch.device("cpu"))
    meter.reset()
    before = meter.read()
    work()
    return meter.read() - before


def updates(params: Tensors, clients: int) -> Iterator[Update]:
    """Yield updates one by one, each in memory of its own."""
    for k in range(clients):
        delta = {name: torch.full_like(value, float(k)) for name, value in params.items()}
        yield Update(client=str(k), version=0, delta=delta, weight=1.0 + k)
        del delta


def speed(form: dict[str, tuple[int, tuple[int, ...]]], repeats: int) -> dict[str, float]:
    """Return GB of updates added per second by `weighted_mean` and by torch.add_ on the same tensors, alternating."""
    params = make(form)
    sets = 16
    pairs = [(params, 1.0 + k) for k in range(sets)]
    ours, theirs = [], []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        weighted_mean(pairs)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        total = zeros_like(params)
        for tensors, weight in pairs:
            for name, value in tensors.items():
                torch.Tensor.add_(total[name], value, alpha=weight)
        theirs.append(time.perf_counter() - began)
    volume = sets * size_bytes(params) / 1e9
    ratios = [b / a for a, b in zip(ours[2:], theirs[2:], strict=True)]
    return {
        "GB_per_second": round(volume / statistics.median(ours[2:]), 2),
        "torch_add_GB_per_second": round(volume / statistics.median(theirs[2:]), 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_least": round(min(ratios), 3),
    }


def make(form: dict[str, tuple[int, tuple[int, ...]]]) -> dict[str, torch.Tensor]:
    """Return tensors of this form."""
    return {f"{i:03d}.{name}.weight": torch.randn(shape) for name, (count, shape) in form.items() for i in range(count)}


if __name__ == "__main__":
    main()
