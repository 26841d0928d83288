"""Personal weights are worse than the shared ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import correlation, fmean
from typing import Any, ClassVar

from .evidence import Evidence, percent
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class PersonalWorse:
    """On clients' own test parts the personal weights lose against the shared ones."""

    name: ClassVar[str] = "personal-worse"
    title: ClassVar[str] = "personal models are worse than the shared one"
    source: ClassVar[str] = "arXiv:2511.11585, on clients with few examples of their own"
    needs: ClassVar[Sequence[str]] = ("personal",)

    mean: float = 0.025  # of the loss, over all clients: a healthy Ditto on test parts of five examples had 1.3 %, PTB tuned for too long 3.8 % (docs/results.md)
    clients: float = 1 / 3  # share of the clients that are worse off
    correlated: float = -0.3  # rank correlation of examples and harm from which small clients are the reason

    def applies(self, evidence: Evidence) -> bool:
        return str(evidence.setting("personalization.kind", "none")) != "none"

    def judge(self, evidence: Evidence) -> Finding | None:
        clients = evidence.section("personal").get("clients") or {}
        harms = {name: _harm(of) for name, of in clients.items() if isinstance(of, dict)}
        known = {name: harm for name, harm in harms.items() if harm is not None}
        if not known:
            return None
        mean, worse = fmean(known.values()), [name for name, harm in known.items() if harm > self.mean]
        if mean <= self.mean and len(worse) < self.clients * len(known):
            return None
        sizes = dict(zip(*evidence.run.columns("clients", "client", "examples"), strict=True))
        rank = _spearman([float(sizes.get(name) or 0) for name in known], list(known.values()))
        scarce = rank is not None and rank < self.correlated
        shown = [
            f"the personal loss is {percent(mean)} above the shared one on average, and above it at {len(worse)} of {len(known)} clients",
            *([f"the fewer examples, the worse (rank correlation {rank:.2f})"] if scarce and rank is not None else []),
        ]
        tried = (
            ["personalization.epochs=1", "personalization.keep=best"]
            if evidence.setting("personalization.kind") == "finetune"
            else []
        )
        advice = "shorter training of the personal weights, the best of them kept, or a pull towards the shared ones"
        return found(
            self,
            "likely" if mean > self.mean else "possible",
            shown,
            advice,
            [*tried, "personalization={kind: ditto, pull: 0.1}"],
        )


def _harm(of: dict[str, Any]) -> float | None:
    """Return by which share the personal loss is above the shared one."""
    shared, own = (of.get(name, {}).get("loss") for name in ("global", "personal"))
    if not isinstance(shared, int | float) or not isinstance(own, int | float) or shared <= 0:
        return None
    return own / shared - 1


def _spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the rank correlation; None if there is too little to rank."""
    if len(one) < 4 or len(set(one)) < 2 or len(set(other)) < 2:
        return None
    ranks = [[sorted(values).index(value) for value in values] for values in (one, other)]
    return correlation(*ranks)
