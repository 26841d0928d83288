"""What a split run tells of itself: a sentence before it, and what its rows of the ledger have besides."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...models.kinds import kind_of
from .cost import client_flops, server_flops
from .reuse import Spared

if TYPE_CHECKING:
    from .bound import BoundSplit
    from .conversations import Conversations


def notice(protocol: "BoundSplit") -> str:
    """Return what those who own the data should know before a run."""
    causal = kind_of(protocol.worker.task.backbone).causal
    kept = "labels go to the server"
    if protocol.form.u_shaped:
        kept = "labels are not sent, but who knows the head, as the server does, can tell them from the loss's gradients"
    if protocol.form.u_shaped and causal:
        kept = "which tokens are targets stays with the clients, but these tokens are inputs too, and hidden no better"
    least = min(protocol.all_cuts)
    where = f"behind block {least}" if protocol.all_cuts == [least] else f"for some behind block {least}"
    told = (
        f"split learning sends activations, which are data: text can likely be rebuilt from them, the more so the lower the cut (here {where} of "
        f"{protocol.layout.blocks}); {kept}"
    )
    if protocol.settings.reuse:
        told += "; with reuse the server keeps the activations of every example until the run ends, and is told by number in which steps each takes part"
    if protocol.auto:
        told += "; with cut: auto the server chooses how deep the cut is, from protocol.least_cut on, and is told how much memory is free at each client"
    return told


def costed(talks: "Conversations", rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the rows of a round's clients with the operations of their own parts, and figures of the round."""
    protocol, found, flops = talks.protocol, [], 0.0
    for row in rows:
        if "tokens" not in row:
            found.append(dict(row))
            continue
        at = protocol.at_cut(talks.cuts.get(row["client"], protocol.layout.cut))
        spared = talks.spared.get(row["client"]) or Spared()
        told: dict[str, Any] = {"train_flops": client_flops(at.layout, int(row["tokens"]), reused=spared.tokens)}
        told |= {"reused_tokens": spared.tokens, "reused_bytes": round(spared.size_bytes)} if protocol.settings.reuse else {}
        told |= {"cut": at.layout.cut} if len(protocol.all_cuts) > 1 else {}
        flops += server_flops(at.layout, int(row["tokens"]))
        found.append({**row, **told})
    figures = {"server_seconds": talks.seconds, "server_flops": flops}
    figures |= {"reused_bytes": sum(row.get("reused_bytes", 0) for row in found)} if protocol.settings.reuse else {}
    return found, figures
