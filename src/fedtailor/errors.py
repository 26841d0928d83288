"""One small tree of exceptions, branched by what the caller can do about them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any


class FedtailorError(Exception):
    """Root of all errors that fedtailor raises on purpose; its text is one readable paragraph."""


class JobError(FedtailorError):
    """The user must fix the job, the data or the environment; commands exit with 2, before any work."""


class SettingError(JobError):
    """A setting has a wrong name, type or value, or does not fit another one."""


class DataError(JobError):
    """A data file is missing, unreadable, or lacks what the task needs."""


class BackboneError(JobError):
    """A backbone was not found, could not be read, or does not fit the task."""


class ResumeError(JobError):
    """A run folder cannot be continued with these settings."""


class ClientError(FedtailorError):
    """One client's answer cannot be used; the client is dropped from the round and the event recorded."""


class OffManifest(ClientError):
    """A message holds something that its manifest does not list, or in another form."""


class TooLarge(OffManifest):
    """A tensor holds a value beyond what its manifest allows."""


class NotFinite(ClientError):
    """A tensor holds NaN or infinity."""


class ShapeMismatch(ClientError):
    """Two sets of named tensors that must agree in names and shapes do not."""


class RunError(FedtailorError):
    """The run cannot continue; its state is saved."""


class EmptyRound(RunError):
    """No usable update reached the server in a round."""


class TooFewClients(RunError):
    """Fewer clients answered than the protocol needs, also when asked again."""


@contextmanager
def within(section: str, settings: Any) -> Iterator[None]:
    """Raise a fault that begins with a field of `settings`, a dataclass, with the section of the job before it: `tuning.targets names ...`."""
    try:
        yield
    except SettingError as fault:
        first = re.match(r"\w+", str(fault))
        if first is None or first[0] not in {field.name for field in fields(settings)}:
            raise
        raise SettingError(f"{section}.{fault}") from fault


@contextmanager
def named(setting: str) -> Iterator[None]:
    """Raise a fault in what a setting names with the setting before it."""
    try:
        yield
    except SettingError as fault:
        raise fault if str(fault).startswith(setting) else SettingError(f"{setting}: {fault}") from fault
