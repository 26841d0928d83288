"""What was sent of backbones, to whom: lines of their own, apart from those of runs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...records import ClientId
from ..kit.site_file import write_private
from ..meeting.offer import Offer

LEDGER = "backbones.json"  # in the server's kit
ON_THE_WAY = "on the way"


def now() -> str:
    """Return the time as it is written down."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one site got of a backbone: a line of the ledger, apart from those of runs."""

    site: ClientId
    state: str = ON_THE_WAY  # whole, had (before anything was sent), refused, failed
    text: str = ""
    down_bytes: int = 0  # as encoded, over all interruptions
    up_bytes: int = 0
    seconds: float = 0.0  # on the wire
    time: str = field(default_factory=now)


class Ledger:
    """The server's file of backbones sent: bytes add up over interruptions, as long as the backbone is the same."""

    def __init__(self, kit: Path, offer: Offer) -> None:
        """Take the server's kit and what is sent now."""
        self._kit, self._name = kit, offer.backbone
        self._all = read_ledger(kit)
        entry = self._all.get(self._name, {})
        if entry.get("sha256") != dict(offer.pins):
            self._all[self._name] = {"sha256": dict(offer.pins), "size_bytes": offer.size_bytes, "sites": {}}

    def row(self, site: ClientId) -> Row:
        """Return what a site has got so far."""
        kept = self._all[self._name]["sites"].get(site)
        return Row(site=site) if kept is None else Row(**kept)

    def keep(self, row: Row) -> None:
        """Write a site's row down, in the place of the one before."""
        self._all[self._name]["sites"][row.site] = asdict(row)
        write_private(self._kit / LEDGER, json.dumps(self._all, indent=2) + "\n")


def read_ledger(kit: Path) -> dict[str, Any]:
    """Return by name which backbones the server has sent, with a row per site; empty if it has sent none."""
    file = kit / LEDGER
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def sent_before(kit: Path, name: str, weights: str, sites: Sequence[ClientId]) -> list[dict[str, Any]]:
    """Return the rows of those sites that got a backbone with these weights from the server."""
    entry = read_ledger(kit).get(name, {})
    rows = entry.get("sites", {}) if entry.get("sha256", {}).get("weights") == weights else {}
    return [rows[site] for site in sites if rows.get(site, {}).get("down_bytes")]
