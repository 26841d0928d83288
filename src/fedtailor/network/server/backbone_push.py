"""The server's end of sending a backbone: each site gets what it lacks, and one that refuses or fails keeps nobody else from it."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ...errors import RunError
from ...federation.nvflare.engine import NetFederation
from ...federation.nvflare.line import Patience, Plain
from ...messages import read, write
from ...protection import make_gate
from ...records import ClientId, ClientInfo, Message, Reply
from ...running import Watcher
from ..kit.versions import versions
from ..meeting.meeting import SERVERS
from ..meeting.offer import MANIFEST, PIECE_BYTES, Offer, OfferedFile, Piece, Taken, make_offer
from ..meeting.opening import ServerLine, answers_of
from .backbone_ledger import ON_THE_WAY, Ledger, Row, now

TEXTS = {
    "DiskFull": "its disk is full; make room there and push again",
    "BytesPerDay": "the most bytes of a day that it permits have passed; push again tomorrow, or let its owner permit more",
    "HashDiffers": "what arrived has another SHA-256 than was announced, and was dropped: was the file changed at the server meanwhile? Push again",
    "NotSafetensors": "a file of weights is no safetensors file, and was dropped; look at it at the server",
    "NoSignOfLife": "the site is lost; push again once it is back",
    "Unanswered": "the site is lost; push again once it is back",
    "TimedOut": "the site did not answer in time; push again",
}


def push(
    settings: Mapping[str, Any], line: ServerLine, diary: Watcher, kit: Path, backbones: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Send a backbone to all sites of a job, and return a row for each.

    Raises:
        BackboneError: if the server does not have it.
        Stopped: if the engine stopped the job.
    """
    diary("opening", {"sites": line.sites})
    offer, folder = make_offer(str(settings["push"]), backbones, kit)
    diary("offer", {"backbone": offer.backbone, "size_bytes": offer.size_bytes, "files": len(offer.files)})
    opening = {
        "run": settings["run"],
        "sites": line.sites,
        "ask": False,
        SERVERS: {"versions": versions()},
        "backbone": offer.plain(),
    }
    ledger, patience = Ledger(kit, offer), Patience(**settings.get("patience", {}))
    under_way: dict[ClientId, Pieces] = {}
    for site, answer in answers_of(line, opening, patience).items():
        ledger.keep(_answered(ledger.row(site), answer))
        if ledger.row(site).state == ON_THE_WAY:
            under_way[site] = Pieces(offer, folder, answer["info"]["there"])
            _report(diary, site, under_way[site])
    _deliver(line, under_way, ledger, diary, patience)
    return [asdict(ledger.row(site)) for site in line.sites]


class Pieces:
    """The messages that bring a site what it lacks, one after the other."""

    def __init__(self, offer: Offer, folder: Path, there: Mapping[str, Sequence[Any]]) -> None:
        """Take what is offered, where it lies, and the bytes and SHA-256 that the site has of each file: its word is held against the files here."""
        self._folder = folder
        self._starts = {file: _agreed(folder, file, there.get(file.name)) for file in offer.files}
        self.of_bytes = offer.size_bytes
        self.sent_bytes = sum(start or 0 for start in self._starts.values())  # with those that were there before
        self._messages = self._all()

    def next(self) -> Message | None:
        """Return the next message; None after the last."""
        return next(self._messages, None)

    def _all(self) -> Iterator[Message]:
        for file, start in self._starts.items():
            if start != file.size_bytes:
                yield from self._of(file, start or 0)

    def _of(self, file: OfferedFile, offset: int) -> Iterator[Message]:
        """Yield the rest of a file, at least one message: also an empty file must come to be."""
        try:
            with (self._folder / file.name).open("rb") as source:
                source.seek(offset)
                while True:
                    data = bytearray(source.read(min(PIECE_BYTES, file.size_bytes - offset)))
                    if not data and file.size_bytes:
                        raise RunError(f"{file.name} at the server is shorter than it was; push again once nobody writes to it")
                    tensor = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
                    self.sent_bytes += len(data)
                    yield write(Piece(file=file.name, offset=offset, data=tensor))
                    offset += len(data)
                    if offset == file.size_bytes:
                        return
        except OSError as fault:
            raise RunError(f"the server cannot read {file.name} of the backbone any more: {fault}") from None


def _deliver(line: ServerLine, under_way: Mapping[ClientId, Pieces], ledger: Ledger, diary: Watcher, patience: Patience) -> None:
    """Bring all sites what they lack, a piece under way for each; rows are written at every hundredth of the way."""
    infos = [ClientInfo(id=site, examples=0) for site in sorted(under_way)]
    federation = NetFederation(line, infos, make_gate(MANIFEST), patience)
    rows, left = {site: ledger.row(site) for site in under_way}, set(under_way)

    def send_next(site: ClientId) -> None:
        message = under_way[site].next()
        if message is None:  # all was sent, and the site does not say that all fits
            rows[site] = replace(rows[site], state="failed", text=TEXTS["HashDiffers"])
            left.discard(site)
        else:
            federation.send(site, message)

    try:
        for site in under_way:
            send_next(site)
        shares = dict.fromkeys(under_way, 0)
        while left:
            reply = federation.next_reply()
            site = reply.client
            rows[site] = _counted(rows[site], reply)
            if rows[site].state == ON_THE_WAY:
                send_next(site)
            else:
                left.discard(site)
            share = 100 * under_way[site].sent_bytes // max(1, under_way[site].of_bytes)
            if share > shares[site] or site not in left:
                shares[site] = share
                ledger.keep(rows[site])
                _report(diary, site, under_way[site])
    finally:
        for row in rows.values():
            ledger.keep(row)
        federation.close()


def _counted(row: Row, reply: Reply) -> Row:
    """Return a site's row after one more answer."""
    traffic = reply.traffic
    row = replace(
        row,
        down_bytes=row.down_bytes + traffic.down_bytes,
        up_bytes=row.up_bytes + traffic.up_bytes,
        seconds=row.seconds + traffic.seconds,
        time=now(),
    )
    if reply.message is None:
        kind, mark = ("failed", "Unnamed") if reply.error is None else (reply.error.kind, reply.error.mark)
        return replace(row, state="failed", text=TEXTS.get(mark, f"{kind} ({mark}); its own site.log says more"))
    return replace(row, state="whole", text="") if read(reply.message, Taken).whole else row


def _answered(row: Row, answer: Plain) -> Row:
    """Return the row of a site that has said what it lacks, or why it gets nothing."""
    if "refused" in answer:
        return replace(row, state="refused", text=str(answer["refused"]))
    if "failure" in answer:
        return replace(row, state="failed", text=f"{' '.join(map(str, answer['failure']))}; its own site.log says more")
    info = answer["info"]
    if not isinstance(info, dict) or not isinstance(info.get("there"), dict):
        return replace(row, state="failed", text="it reported what it has in another form than ours")
    return replace(row, state="had" if info.get("whole") else ON_THE_WAY, text="")


def _report(diary: Watcher, site: ClientId, pieces: Pieces) -> None:
    diary("piece", {"site": site, "sent_bytes": pieces.sent_bytes, "of_bytes": pieces.of_bytes})


def _agreed(folder: Path, file: OfferedFile, opening: Sequence[Any] | None) -> int | None:
    """Return how many bytes of a file a site has that are those of the server's; None if it has none of it, or others."""
    match opening:
        case [int(size), str(sha256)] if 0 <= size <= file.size_bytes:
            return (
                size if sha256 == (file.sha256 if size == file.size_bytes else _start_sha256(folder / file.name, size)) else None
            )
        case _:
            return None


def _start_sha256(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for start in range(0, size, PIECE_BYTES):
            digest.update(file.read(min(PIECE_BYTES, size - start)))
    return digest.hexdigest()
