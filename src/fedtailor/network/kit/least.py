"""The least strength that a site asks of protections, held against a job."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ...errors import SettingError

Least: TypeAlias = Sequence[str] | Mapping[str, Mapping[str, Any]]
MOST_SHOWN = 100  # characters of a value


@dataclass(frozen=True)
class Form:
    """What a setting of a site's file takes."""

    words: str
    fits: Callable[[object], bool]


def number(words: str, *, below: float, whole: bool = False) -> Form:
    """Return the form of a number above 0."""

    def fits(value: object) -> bool:
        return isinstance(value, int if whole else int | float) and not isinstance(value, bool) and 0 < value < below

    return Form(words, fits)


SWITCH = Form("true or false", lambda value: isinstance(value, bool))
KNOWN: Mapping[str, Mapping[str, Form]] = {
    # at most; unit: client, example, or the column of a person
    "dp": {
        "epsilon": number("a number above 0, and finite", below=math.inf),
        "delta": number("a number above 0 and below 1", below=1),
        "unit": Form("a text", lambda value: isinstance(value, str) and bool(value)),
    },
    # least: clients below which no sum is opened; consistency: whether they sign who dropped out
    "secure-aggregation": {"least": number("a whole number above 0", below=math.inf, whole=True), "consistency": SWITCH},
}


def check_least(asked: Least) -> None:
    """Raise SettingError unless all strengths are known and are numbers, or the name of a unit."""
    for kind, strengths in asked.items() if isinstance(asked, Mapping) else ():
        known = KNOWN.get(kind, {})
        if not isinstance(strengths, Mapping):
            raise SettingError(
                f'policy.protections.{kind} is a mapping of strengths, such as {{"epsilon": 8}}; got {shown(strengths)}'
            )
        for name, value in strengths.items():
            if name not in known:
                raise SettingError(f"policy.protections.{kind} names {name!r}; known are {', '.join(known) or 'none'}")
            if not known[name].fits(value):
                raise SettingError(f"policy.protections.{kind}.{name} is {shown(value)}; it must be {known[name].words}")


def shown(value: object) -> str:
    """Return a value as it stands in the file."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]} ..."


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
    if "secure-aggregation" in strengths and not strengths["secure-aggregation"].get("consistency"):
        found.append(
            "does not ask that clients sign who dropped out: a server that says different things to them may open what one of them sent; "
            "policy: {protections: {secure-aggregation: {consistency: true}}} asks for it"
        )
    return found


def _pairs(least: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {str(value).lower() if isinstance(value, bool) else value}" for name, value in least.items())


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
    if least.get("consistency") and part.get("consistency") is not True:
        yield "the job's secure sums lack the round in which clients sign who dropped out (protection.consistency: false), and this site asks for it"
