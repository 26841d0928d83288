"""Looks for every known failure in runs."""

from collections.abc import Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from ..errors import SettingError
from ..report.read import Run
from .collapsed_pictures import CollapsedPictures
from .collapsed_texts import CollapsedTexts
from .cut_too_high import CutTooHigh
from .evidence import Evidence
from .failures import FAILURES
from .few_asked import FewAsked
from .finding import CERTAINTIES, Comparison, Diagnosis, Finding, Signature
from .large_logits import LargeLogits
from .many_epochs import ManyEpochs
from .out_of_memory import OutOfMemory
from .personal_worse import PersonalWorse
from .plateau import Plateau
from .public_set import PublicSet
from .quantized_activations import QuantizedActivations
from .seeds_differ import SeedsDiffer
from .slow_exchange import SlowExchange
from .sparse_clients import SparseClients
from .stale_backbone import StaleBackbone
from .stalls_early import StallsEarly
from .unequal_ranks import UnequalRanks
from .unstable_rounds import UnstableRounds

SIGNATURES: Sequence[Signature] = (
    StallsEarly(),
    OutOfMemory(),
    UnstableRounds(),
    PersonalWorse(),
    CollapsedTexts(),
    CollapsedPictures(),
    Plateau(),
    UnequalRanks(),
    PublicSet(),
    LargeLogits(),
    QuantizedActivations(),
    SlowExchange(),
    CutTooHigh(),
    ManyEpochs(),
    FewAsked(),
    *FAILURES,
)
COMPARISONS: Sequence[Comparison] = (SparseClients(), SeedsDiffer(), StaleBackbone())


def diagnose(
    runs: Sequence[Run], *, signatures: Sequence[Signature] = SIGNATURES, comparisons: Sequence[Comparison] = COMPARISONS
) -> Diagnosis:
    """Return which of the known failures some runs show: each run by itself, and all of them together.

    Raises:
        DataError: if a file of a run is damaged.
    """
    evidence = [Evidence(run) for run in runs]
    findings: list[Finding] = []
    silent: set[str] = set()
    not_judged: dict[str, str] = {}
    for signature in signatures:
        for one in evidence:
            if not signature.applies(one):
                continue
            if lacking := one.missing(signature.needs):
                not_judged[signature.name] = lacking
                continue
            found = signature.judge(one)
            findings += [found] if found else []
            silent |= set() if found else {signature.name}
    for comparison in comparisons:
        groups = comparison.groups(evidence)
        for group in groups:
            found = comparison.judge(group)
            findings += [found] if found else []
            silent |= set() if found else {comparison.name}
        if not groups:
            not_judged[comparison.name] = f"it needs {comparison.needs}"
    seen = {finding.signature for finding in findings}
    findings.sort(key=lambda finding: -CERTAINTIES.index(finding.certainty))
    return Diagnosis(findings=findings, silent=sorted(silent - seen), not_judged=not_judged)


def with_thresholds(settings: Sequence[str]) -> tuple[list[Signature], list[Comparison]]:
    """Return all signatures with other thresholds, given as NAME.THRESHOLD=VALUE.

    Raises:
        SettingError: if there is no such signature or threshold, or the value is no number.
    """
    changed: dict[str, dict[str, float]] = {}
    every: dict[str, Any] = {each.name: each for each in (*SIGNATURES, *COMPARISONS)}
    for text in settings:
        key, _, value = text.partition("=")
        name, _, threshold = key.partition(".")
        known = _thresholds(every[name]) if name in every else []
        if name not in every or threshold not in known:
            near = get_close_matches(key, [f"{n}.{t}" for n, of in every.items() for t in _thresholds(of)], n=1)
            tip = f"did you mean {near[0]}?" if near else f"signatures are {', '.join(sorted(every))}"
            raise SettingError(f"--set {text}: there is no threshold {key}; {tip}")
        try:
            changed.setdefault(name, {})[threshold] = float(value)
        except ValueError:
            raise SettingError(f"--set {text}: {value!r} is no number") from None
    signatures = [replace(each, **changed.get(each.name, {})) for each in SIGNATURES]  # type: ignore[type-var]
    comparisons = [replace(each, **changed.get(each.name, {})) for each in COMPARISONS]  # type: ignore[type-var]
    return signatures, comparisons


def _thresholds(signature: Any) -> list[str]:
    """Return the names of the fields that are numbers."""
    return [each.name for each in fields(signature) if isinstance(getattr(signature, each.name), int | float)]
