"""What of an estimate exceeds what clients have, and which settings would help."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..assembly import Parts
from ..pairs import technique
from ..tasks.asked import most_tokens_of
from ..units import bytes_text, seconds_text
from .client import ClientEstimate
from .estimate import Estimate
from .traffic import EVALUATE, TRAIN

WORTH = 0.02  # share of the peak that a setting must save to be named
LARGE = 0.25  # share of all bytes, or of the time of a round, from which something is worth a word


@dataclass(frozen=True, kw_only=True)
class Remark:
    """One thing that somebody should know before a run."""

    exceeds: bool  # whether a limit is exceeded; else there is something to be saved
    text: str
    overrides: tuple[str, ...] = ()  # of the command line, that would help


def remarks(parts: Parts, found: Estimate) -> list[Remark]:
    """Return what exceeds the limits of an estimate, then what could be saved."""
    return [*_memory(parts, found), *_bytes(parts, found)]


def _memory(parts: Parts, found: Estimate) -> Iterator[Remark]:
    limit = found.means.client_memory
    if limit is None or found.largest is None:
        return
    client, most = found.largest
    over = [each for each, one in found.clients.items() if one.memory.peak > limit]
    if not over:
        return
    others = f" and {len(over) - 1} more" if len(over) > 1 else ""
    text = (
        f"client {client}{others} would need {bytes_text(most.memory.peak)} of memory, and --client-memory is {bytes_text(limit)}"
    )
    if most.memory.activations is None:
        text += ", activations not counted"
    tips = [(override, peak) for override, peak in _memory_tips(parts, most) if peak < most.memory.peak * (1 - WORTH)]
    least = min((peak for _, peak in tips), default=None)
    if least is None or least > limit:
        text += (
            f"; {'none of these' if tips else 'no setting'} is enough alone: choose a smaller backbone, or {_smaller_part(parts)}"
        )
    said = [f"{override} (about {bytes_text(peak)})" for override, peak in tips]
    yield Remark(
        exceeds=True,
        text=f"{text}. Try {'; or '.join(said)}" if said else text,
        overrides=tuple(override for override, _ in tips),
    )


def _smaller_part(parts: Parts) -> str:
    """Return how a client could hold less of the backbone."""
    if technique("protocol", parts.job.protocol).lack("cut") is None:
        return "fewer blocks at the client (protocol.cut)"
    return "split learning, with which a client holds a part of it"


def _memory_tips(parts: Parts, client: ClientEstimate) -> Iterator[tuple[str, float]]:
    """Yield overrides that need less memory, with the peak that is then estimated."""
    memory, local = client.memory, parts.protocol.local
    used = (memory.activations or 0.0) + (memory.working or 0.0)
    if parts.protocol.trains and local.batch_size > 1 and used:
        half = max(1, local.batch_size // 2)
        yield (
            f"protocol.local.batch_size={half} protocol.local.accumulate={local.accumulate * (local.batch_size // half)} evaluation.batch_size={half}",
            memory.peak - used * (1 - half / local.batch_size),
        )
    if parts.protocol.trains and not local.checkpointing and memory.activations:
        yield "protocol.local.checkpointing=true", memory.peak - memory.activations * 0.75
    longest = most_tokens_of(parts.job.task)
    seen = max((has.longest for has in parts.clients.amounts.values()), default=0)
    if longest and used and seen > 1:
        yield f"task.max_tokens={seen // 2}", memory.peak - used / 2


def _bytes(parts: Parts, found: Estimate) -> Iterator[Remark]:
    """Yield what would save bytes, where a link is given."""
    if found.means.bandwidth is None:
        return
    total = sum(kind.up + kind.down for kind in found.bytes.values())
    evaluation = found.bytes.get(EVALUATE)
    every, rounds = parts.job.evaluation.every, found.rounds
    if evaluation is not None and total and (evaluation.up + evaluation.down) / total > LARGE and rounds > every:
        yield _rarer(parts, found)
    train = found.bytes.get(TRAIN)
    if train is None or not total or (train.up + train.down) / total < LARGE:
        return
    if wire := parts.job.protocol.half_wire:
        saved = (train.up + train.down) / 2
        yield Remark(
            exceeds=False,
            text=f"protocol.wire={wire} saves {bytes_text(saved)} of training's bytes",
            overrides=(f"protocol.wire={wire}",),
        )


def _rarer(parts: Parts, found: Estimate) -> Remark:
    """Return what evaluations that come less often would save."""
    evaluation, rounds = found.bytes[EVALUATE], found.rounds
    now = rounds // parts.job.evaluation.every + 1
    saved = (evaluation.up + evaluation.down) * (1 - 2 / (now + 1))
    seconds = ""
    if found.means.bandwidth is not None:
        seconds = f", {seconds_text(saved / found.means.bandwidth / max(1, len(found.clients)))} of each client's link"
    override = f"evaluation.every={rounds}"
    return Remark(
        exceeds=False,
        text=f"evaluations take {bytes_text(evaluation.up + evaluation.down)}: {override} saves about {bytes_text(saved)}{seconds}",
        overrides=(override,),
    )
