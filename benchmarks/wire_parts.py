"""Both ends of a job as they are, with a record of all that they hand to the engine and get from it; for net_wire alone."""

import json
import os
from pathlib import Path
from typing import Any

from fedtailor.federation.nvflare.flare import CollabLine
from fedtailor.federation.nvflare.line import Packed, Places, Told
from fedtailor.federation.nvflare.packing import unpack
from fedtailor.messages import decode
from fedtailor.network.job_ends import AtServer, AtSite
from fedtailor.network.server.server import ServerLine
from fedtailor.network.site.site import Site
from fedtailor.records import ClientId


class Record:
    """A file of what passed: readable texts, and every integer of a tensor, so that token ids would show."""

    def __init__(self, end: str) -> None:
        """Take which end it is of."""
        self._path = Path(os.environ["WIRE_RECORD"]) / f"{end}.jsonl"

    def __call__(self, what: str, told: Any) -> Any:
        """Note what is told, and return it."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"what": what, "told": _readable(told)}, ensure_ascii=False) + "\n")
        return told


def _readable(told: Any) -> Any:
    if not isinstance(told, dict) or not ({"blob", "head"} & told.keys()):
        return told
    encoded = unpack({name: value for name, value in told.items() if name != "seconds"})
    message = decode(encoded) if isinstance(encoded, bytes) else encoded.decode()
    tensors = {
        name: [str(value.dtype), list(value.shape), value.flatten().tolist() if not value.is_floating_point() else []]
        for name, value in message.tensors.items()
    }
    return {"kind": message.kind, "facts": dict(message.facts), "tensors": tensors}


class RecordedLine:
    """The server's line to the sites."""

    def __init__(self, line: ServerLine) -> None:
        """Take the true line."""
        self._line, self._record = line, Record("server")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)

    def open(self, client: ClientId, told: Told, timeout_s: float) -> Told:
        """Pass an opening on."""
        self._record(f"to {client}", told)
        answer: Told = self._record(f"from {client}", self._line.open(client, told, timeout_s))
        return answer

    def answer(self, client: ClientId, ticket: str, packed: Packed, timeout_s: float) -> Any:
        """Pass a message on."""
        self._record(f"to {client}", packed)
        return self._record(f"from {client}", self._line.answer(client, ticket, packed, timeout_s))


class RecordedSite:
    """A site's half."""

    def __init__(self, site: Site, name: ClientId) -> None:
        """Take the true half."""
        self._site, self._record = site, Record(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._site, name)

    def open(self, told: Told) -> Told:
        """Answer an opening."""
        answer: Told = self._record("leaves", self._site.open(told))
        return answer

    def answer(self, ticket: str, packed: Packed) -> Told:
        """Answer a message."""
        answer: Told = self._record("leaves", self._site.answer(ticket, packed))
        return answer


class RecordedServerEnd(AtServer):
    """The server's end."""

    def work(self, line: CollabLine, places: Places) -> None:
        """Carry the job out over the recorded line."""
        super().work(RecordedLine(line), places)  # type: ignore[arg-type]


class RecordedSiteEnd(AtSite):
    """A site's end."""

    def make(self, name: ClientId, places: Places) -> Any:
        """Return what answers for the site."""
        return RecordedSite(super().make(name, places), name)
