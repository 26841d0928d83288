"""What the engine adds to the steps of a client, against a plain PyTorch and PEFT loop written out here.

Both sides train the same LoRA on the same batches in the same order, precision and threads, with the same optimizer. Ours is
the whole way of a "train" message: encoded, checked, decoded, trained, encoded, checked, decoded. The plain loop does the same
arithmetic as ours: logits only at targets, attention by plain products, no mask where nothing is padding. That ratio is the
engine's overhead. With --labels a second one calls the model with labels and leaves attention to torch, as most people write it.

Usage: overhead.py --data FOLDER [--pairs 15] [--steps 20] [--labels]. FOLDER holds e2e/train.parquet. About 12 minutes on 2 cores.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import alternate, ratio, write

from fedtailor import Job
from fedtailor.assembly import Parts, assemble
from fedtailor.chance import stream
from fedtailor.federation import LocalFederation
from fedtailor.models.attention import quick_attention
from fedtailor.protection import Gate
from fedtailor.records import Message
from fedtailor.tasks.shard import training_batches

BATCH = 8


def main() -> None:
    """Time both sides in turn and write the ratio of their times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--labels", action="store_true", help="time the loop that calls the model with labels, too")
    args = parser.parse_args()
    parts = assemble(job(args.data.resolve(), args.steps))
    (client,) = parts.clients
    shared = parts.worker.tensors()
    half = parts.protocol.client(parts.clients[client])
    federation = LocalFederation({client: half}, parts.sampler.clients, Gate(manifest=parts.manifest), raise_it)

    def engine(pair: int) -> float:
        began = time.perf_counter()
        message = Message(kind="train", tensors=shared, facts={"version": pair, "rate_factor": 1.0})
        (reply,) = federation.ask({client: message})
        assert reply.message is not None
        assert reply.message.facts["steps"] == args.steps
        return time.perf_counter() - began

    runs = {"engine": engine, "plain": plain(parts, args.steps, at_targets)}
    runs |= {"plain with labels": plain(parts, args.steps, labels)} if args.labels else {}
    for run in runs.values():
        run(0)  # kernels are made for each shape of batch when it first comes
    seconds = alternate(runs, args.pairs)
    write(
        "overhead",
        {
            **{f"engine / {name}": ratio(seconds["engine"], times) for name, times in seconds.items() if name != "engine"},
            "pairs": args.pairs,
            "steps": args.steps,
            "precision": parts.precision,
            "threads": torch.get_num_threads(),
            "seconds": seconds,
        },
    )


def job(data: Path, steps: int) -> Job:
    """Return a job of one client, whose own parts are all for training."""
    return Job.from_dict(
        {
            "name": "overhead",
            "backbone": "smollm2-135m",
            "task": {"kind": "generation"},
            "data": {"train": str(data / "e2e" / "train.parquet"), "limit": {"train": 1000}},
            "clients": {"count": 1, "test_share": 0, "validation_share": 0},
            "protocol": {"local": {"steps": steps, "batch_size": BATCH, "learning_rate": 1e-4}},
        }
    )


def plain(parts: Parts, steps: int, loss_of: Callable[..., torch.Tensor]) -> Callable[[int], float]:
    """Return a plain loop over the batches that the engine takes in round `pair + 1`."""
    worker, (client,) = parts.worker, parts.clients
    model, pad = worker.model, worker.processor.pad_token_id
    shard = parts.clients[client].train
    examples = [shard.tokens_T[a:b].long() for a, b in zip(shard.starts[:-1], shard.starts[1:], strict=True)]
    targets = [shard.target_T[a:b] for a, b in zip(shard.starts[:-1], shard.starts[1:], strict=True)]
    weights = [p for p in model.parameters() if p.requires_grad]
    lengths = shard.sizes_N.tolist()

    def loop(pair: int) -> float:
        batches = training_batches(lengths, BATCH, stream(0, "batches", pair + 1, client))
        began = time.perf_counter()
        optimizer = torch.optim.AdamW(weights, lr=1e-4, weight_decay=0.0, fused=True)
        model.train()
        for _, rows in zip(range(steps), batches, strict=False):
            ids = torch.nn.utils.rnn.pad_sequence([examples[r] for r in rows], batch_first=True, padding_value=pad)
            target = torch.nn.utils.rnn.pad_sequence([targets[r] for r in rows], batch_first=True, padding_value=False)
            mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(examples[r]) for r in rows], batch_first=True)
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=worker.bfloat16):
                loss = loss_of(model, ids, mask, target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            loss.item()
        return time.perf_counter() - began

    return loop


def at_targets(model: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean loss by the same arithmetic as ours, from logits at the targets alone."""
    inner = model.get_base_model()
    padded = None if bool(mask.all()) else mask
    with quick_attention(ids.device, bfloat16=torch.is_autocast_enabled("cpu"), tokens=ids.shape[1]):
        hidden = inner.model(input_ids=ids, attention_mask=padded, use_cache=False).last_hidden_state
    logits = inner.lm_head(hidden[:, :-1][target[:, 1:]])
    return F.cross_entropy(logits.float(), ids[:, 1:][target[:, 1:]])


def labels(model: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean loss that the model computes itself."""
    return model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(~target, -100)).loss


def raise_it(client: str, fault: Exception) -> None:
    """Let no fault pass for an answer."""
    raise fault


if __name__ == "__main__":
    main()
