"""The least strength that a site asks of protections, held against a job."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from ...errors import SettingError

Least: TypeAlias = Sequence[str] | Mapping[str, Mapping[str, Any]]
KNOWN: Mapping[str, Mapping[str, type]] = {
    "dp": {"epsilon": float, "delta": float, "unit": str},  # at most; unit: client, example, or the column of a person
    "secure-aggregation": {"least": int},  # clients, below which no sum is opened
}


def check_least(asked: Least) -> None:
    """Raise SettingError unless all strengths are known and are numbers, or the name of a unit."""
    for kind, strengths in asked.items() if isinstance(asked, Mapping) else ():
        known = KNOWN.get(kind, {})
        if not isinstance(strengths, Mapping):
            raise SettingError(f"policy.protections.{kind} is a mapping of strengths, such as {{epsilon: 8}}; got {strengths!r}")
        for name, value in strengths.items():
            if name not in known:
                raise SettingError(f"policy.protections.{kind} names {name!r}; known are {', '.join(known) or 'none'}")
            right = (
                isinstance(value, str) if known[name] is str else isinstance(value, int | float) and not isinstance(value, bool)
            )
            if not right or (known[name] is not str and not value > 0):
                raise SettingError(
                    f"policy.protections.{kind}.{name} is {value!r}; it must be {'a text' if known[name] is str else 'a number above 0'}"
                )


def said_of(asked: Least) -> list[str]:
    """Return what is asked of protections, and which bounds are missing, a line each, for people."""
    strengths = asked if isinstance(asked, Mapping) else {kind: {} for kind in asked}
    if not strengths:
        return []
    parts = [f"{kind}{f' ({_pairs(least)})' if least else ''}" for kind, least in strengths.items()]
    found = [f"asks for protection by {', '.join(parts)}"]
    if "dp" in strengths and "epsilon" not in strengths["dp"]:
        found.append(
            "does not bound epsilon: a job with dp of epsilon 1000 is permitted; policy: {protections: {dp: {epsilon: 8, unit: example}}} permits at most 8"
        )
    if "secure-aggregation" in strengths and "least" not in strengths["secure-aggregation"]:
        found.append(
            "does not bound how many clients a secure sum hides: 3 are permitted; policy: {protections: {secure-aggregation: {least: 5}}} permits no fewer than 5"
        )
    return found


def _pairs(least: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in least.items())


def lacking(asked: Least, job: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a job protects less than is asked, a sentence each that names both sides.

    Args:
        job: all its settings as plain values.
    """
    strengths = asked if isinstance(asked, Mapping) else {kind: {} for kind in asked}
    parts = {str(part["kind"]): part for part in job["protection"]}
    missing = []
    for kind, least in strengths.items():
        part = _private(job, parts, str(least.get("unit", ""))) if kind == "dp" else parts.get(kind)
        if part is None:
            missing.append(kind)
            continue
        yield from _weaker(kind, least, part)
    if missing:
        yield f"the job lacks protection by {', '.join(missing)}, which is the least here"


def _private(job: Mapping[str, Any], parts: Mapping[str, Any], unit: str) -> Mapping[str, Any] | None:
    """Return what of the job is differentially private for a unit; of clients if none is named, else of whatever is there."""
    local: Mapping[str, Any] | None = job["protocol"].get("local", {}).get("privacy")
    if unit == "client":
        return parts.get("dp")
    if unit:
        own = None if local is None else local["unit"] if isinstance(local["unit"], str) else local["unit"]["column"]
        return local if own == unit else None
    return parts.get("dp") or local


def _weaker(kind: str, least: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[str]:
    for name in ("epsilon", "delta"):
        given = part.get(name)
        if name in least and (given is None or given > least[name]):
            shown = "unbounded or left to the job's defaults" if given is None else f"{given:g}"
            yield f"the job's {name} of {kind} is {shown}, and this site asks for at most {least[name]:g}"
    if "least" in least and (part.get("threshold") or 0) < least["least"]:
        yield (
            f"the job's secure sums may be opened with fewer than {least['least']} clients (protection.threshold: {part.get('threshold')}), which is the "
            "least here"
        )
