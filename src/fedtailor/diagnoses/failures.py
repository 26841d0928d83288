"""Failures of the machines a run was carried out on, by what its events say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .events import failures, named
from .evidence import Evidence
from .finding import Finding, found


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One kind of failure that has nothing to do with learning."""

    name: str
    title: str
    marks: tuple[str, ...]  # what events say of it
    advice: str
    source: ClassVar[str] = "the events of the run"
    needs: ClassVar[Sequence[str]] = ()

    def applies(self, evidence: Evidence) -> bool:
        return True

    def judge(self, evidence: Evidence) -> Finding | None:
        seen = failures(evidence.run, self.marks)
        return found(self, "likely", [named(seen)], self.advice) if seen else None


FAILURES: Sequence[Failure] = (
    Failure(
        name="import-failed",
        title="a package or class could not be imported",
        marks=("ModuleNotFoundError", "ImportError"),
        advice="install what is named at the client that failed, in the same version as elsewhere",
    ),
    Failure(
        name="certificate",
        title="a certificate was refused",
        marks=("certificate", "SSLError", "SSLCertVerificationError"),
        advice="renew it with fedtailor net renew, or check the clock of the machine",
    ),
    Failure(
        name="versions-differ",
        title="versions differ between machines",
        marks=("VersionMismatch", "OtherVersion", "another version of fedtailor", "versions differ"),
        advice="install one version of fedtailor everywhere",
    ),
    Failure(
        name="path",
        title="a file or folder was not found",
        marks=("FileNotFoundError", "NotADirectoryError", "no such file"),
        advice="check the path in the job, and at a site the one in its own settings",
    ),
    Failure(
        name="disk-full",
        title="a disk is full",
        marks=("the disk is full", "no space left", "disk quota"),
        advice="free some space, then fedtailor run --resume RUN",
    ),
    Failure(
        name="not-finite",
        title="losses or weights became infinite or NaN",
        marks=("NotFinite", "Diverged", "not finite", "diverged"),
        advice="a smaller learning rate, or protocol.local.clip_norm=1.0",
    ),
    Failure(
        name="damaged-checkpoint",
        title="a checkpoint was damaged",
        marks=("damaged",),
        advice="check the disk; the run continued from the checkpoint before it",
    ),
)
