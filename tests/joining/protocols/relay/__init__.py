"""Clients train one after the other: each starts from what the one before has made."""

from .ready import RelayRun, relay_run
from .settings import Relay

__all__ = ["Relay", "RelayRun", "relay_run"]
