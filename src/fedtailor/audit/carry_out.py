"""All attacks on a run, and the file that they leave."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

from ..errors import SettingError
from ..run_files import AUDIT_FILE, finite
from ..storage import write_text
from . import canaries, membership, own_noise, words
from .finding import Finding
from .opened import Opened, open_for_audit

Attack: TypeAlias = Callable[[Opened], Iterator[Finding]]
AUDITS: Mapping[str, Attack] = {
    membership.NAME: membership.membership,
    canaries.NAME: canaries.canaries,
    words.NAME: words.words,
    own_noise.NAME: own_noise.own_noise,
}


def audit(
    folder: Path, *, only: Sequence[str] = (), doing: Callable[[str], None] = lambda what: None
) -> tuple[list[Finding], list[str]]:
    """Attack a finished run with all that fits, write what was found to its folder, and return it, and why attacks were left out.

    Args:
        only: names of attacks; empty: all.
        doing: called with what is under way.

    Raises:
        SettingError: if a name is none of AUDITS, or an attack that was named does not fit the run.
        DataError: if the folder is of no finished run, or its data are not here.
    """
    for name in only:
        if name not in AUDITS:
            raise SettingError(f"{name!r} is no attack; there are {', '.join(AUDITS)}")
    doing("opening the run")
    run = open_for_audit(folder)
    findings: list[Finding] = []
    left_out: list[str] = []
    for name in only or AUDITS:
        doing(f"attack: {name}")
        try:
            findings += AUDITS[name](run)
        except SettingError as reason:
            if only:
                raise
            left_out.append(f"{name}: {reason}")
    found = finite({"findings": [asdict(found) for found in findings], "left_out": left_out})
    write_text(folder / AUDIT_FILE, json.dumps(found, indent=2) + "\n")
    return findings, left_out
