"""What left each client, by the manifest that its gate held."""

from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ...run_files import read_json_file
from ...units import bytes_text
from ..read import Run, read_run
from ..wording import plural

EVALUATION = "evaluate"  # the kind of message that carries figures alone


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of message that may leave a client."""

    name: str
    tensors: str
    reveal: str  # what they reveal; "" if nothing, or if the run is of a version that did not say
    facts: list[tuple[str, str, str]]  # each name, purpose, and what it reveals
    sent: str


def leaving(run: Run) -> list[Kind]:
    """Return a row for each kind of message that may have left a client; none if the run has no manifest, as a baseline."""
    file = run.folder / "manifest.json"
    manifest = read_json_file(file) if file.exists() else {}
    up = manifest.get("up", {}) if isinstance(manifest, dict) else {}
    sizes = manifest.get("sizes", {}) if isinstance(manifest, dict) else {}
    traffic = (run.summary.get("traffic") or {}).get("by_kind") or {}
    return [
        Kind(
            name=name,
            tensors=_tensors(spec.get("tensors", {}), sizes),
            reveal=", ".join(dict.fromkeys(str(of["reveals"]) for of in spec.get("tensors", {}).values() if "reveals" in of)),
            facts=[(fact, str(of.get("purpose", "")), str(of.get("reveals", ""))) for fact, of in spec.get("facts", {}).items()],
            sent=bytes_text(float(traffic.get(name, {}).get("up_bytes", 0))),
        )
        for name, spec in up.items()
    ]


def kinds_in_short(folder: Path) -> list[tuple[str, str]]:
    """Return the name of each kind of message that may leave a client of the run in `folder`, but those of evaluation, and what is in it."""
    return [(kind.name, _content(kind)) for kind in leaving(read_run(folder)) if kind.name != EVALUATION]


def _content(kind: Kind) -> str:
    """Return the tensors of a kind of message, and the names of its facts."""
    names = [name for name, _, _ in kind.facts]
    parts = Counter(part for part, dot, _ in (name.partition(".") for name in names) if dot)
    figures = [f"{plural(count, 'figure')} of its {part} part" for part, count in parts.items()]
    facts = ", ".join([*(name for name in names if "." not in name), *figures])
    return "; ".join(text for text in ("" if kind.tensors == "none" else kind.tensors, facts) if text)


def _tensors(tensors: dict[str, Any], sizes: dict[str, int]) -> str:
    """Return how many tensors of which type, and how many values; a size that differs from message to message is named."""
    if not tensors:
        return "none"
    counts = Counter(str(of["dtype"]) for of in tensors.values())
    shapes = [[sizes.get(size, size) for size in of["shape"]] for of in tensors.values()]
    fixed = sum(prod(shape) for shape in shapes if all(isinstance(size, int) for size in shape))
    open_ended = any(not isinstance(size, int) for shape in shapes for size in shape)
    values = f"{fixed:,} values" + (" and some that depend on the message" if open_ended else "")
    return f"{', '.join(f'{count:,} {dtype}' for dtype, count in counts.items())} ({values})"
