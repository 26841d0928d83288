"""A site's end of a job, in its own process of the engine. It holds the policy; the model is in a process of its own."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from ...errors import FedtailorError
from ...federation.nvflare.line import Plain
from ...printable import printable
from ...protection import Encoded
from ...records import ClientId
from ..kit.site_file import Meter, SiteFile, read_site_file
from ..kit.versions import version_refusals, versions
from ..meeting.meeting import SERVERS, is_folder_name
from ..meeting.offer import read_offer
from .model_keeper import Failed, ModelKeeper
from .receiver import Receiver

DIARY = "site.log"  # in the kit: what the site did, for its owner
METER = "bytes.json"


class Keeper(Protocol):
    """What answers the messages of one job: the process of a model, or what takes a backbone."""

    def open(self, *, again: bool = False) -> dict[str, Any]: ...

    def answer(self, ticket: str, data: Encoded) -> tuple[bytes, float]: ...

    def forget(self, ticket: str) -> None: ...

    def close(self) -> None: ...


class Site:
    """Answers for one site in one job; no setting of it comes with the job."""

    def __init__(self, name: ClientId, kit: Path) -> None:
        """Take the site's name and folder."""
        self._name, self._kit = name, kit
        self._keeper: Keeper | None = None
        self._file: SiteFile | None = None
        self._run = ""
        self._metering = threading.Lock()  # calls arrive on many threads

    def stop(self) -> None:
        """End the model's process."""
        if self._keeper is not None:
            self._keeper.close()
            self.note(f"run {self._run} has ended")
        self._keeper = None

    def open(self, opening: Plain, *, again: bool = False) -> Plain:
        """Refuse the job, or load what it needs; what is returned leaves the site.

        Args:
            again: an earlier agent of this job has died: what the site kept since the job was opened is the run's, and stays.
        """
        try:
            return self._open(opening, again=again)
        except Failed as fault:
            if fault.text:
                return self._refuse(fault.text)
            self.note(f"run {self._run}: {fault.kind} ({fault.mark}); see {self._log}")
            return {"failure": [fault.kind, fault.mark]}
        except Exception as fault:
            self.note(f"a job could not be opened: {type(fault).__name__}: {fault}")
            return {"failure": ["failed", type(fault).__name__]}

    def answer(self, ticket: str, data: Encoded) -> tuple[Plain, bytes]:
        """Answer one message: the seconds that it took and the encoded reply, or a failure and nothing; what is returned leaves the site."""
        try:
            return self._answer(ticket, data)
        except Failed as fault:
            self.note(f"run {self._run}: {fault.kind} ({fault.mark}); see {self._log}")
            return {"failure": [fault.kind, fault.mark]}, b""
        except Exception as fault:
            self.note(f"run {self._run}: {type(fault).__name__}: {fault}")
            return {"failure": ["failed", type(fault).__name__]}, b""

    def forget(self, ticket: str) -> None:
        """Stop working on a message that nobody waits for."""
        if self._keeper is not None:
            self._keeper.forget(ticket)

    def _answer(self, ticket: str, data: Encoded) -> tuple[Plain, bytes]:
        keeper, file = self._keeper, self._file
        if keeper is None or file is None:
            return {"failure": ["refused", "NotOpened"]}, b""
        self._meter(file, len(data))
        reply, seconds = keeper.answer(ticket, data)
        self._meter(file, len(reply))
        return {"seconds": seconds}, reply

    def _open(self, opening: Plain, *, again: bool) -> Plain:
        self._run = str(opening["run"])
        if not all(is_folder_name(name) for name in (self._run, *map(str, opening["sites"]))):
            return self._refuse("the name of the run, or of a site, is no name of a folder")
        try:
            file = read_site_file(self._kit)
        except FedtailorError as fault:
            self.note(str(fault))
            return self._refuse("the site's private file is missing or wrong; its owner's log says more")
        offered = opening.get("backbone")
        forbidden = file.refusals(opening["job"]) if offered is None else file.policy.backbone_refusals()
        reasons = [*forbidden, *version_refusals(versions(), opening[SERVERS]["versions"])]
        if reasons:
            return self._refuse("; ".join(reasons))
        if opening["ask"]:  # only whether it is permitted: nobody loads anything before all sites have said so
            return {"info": {}}
        if self._keeper is not None:
            self._keeper.close()
        self._file, began = file, time.perf_counter()
        keeper: Keeper
        if offered is None:
            keeper = ModelKeeper({"site": self._name, "kit": str(self._kit), "opening": opening}, self._log)
        else:
            keeper = Receiver(read_offer(offered), self._kit, file, self.note)
        found = keeper.open(again=again)
        self._keeper = keeper
        if offered is None:
            self.note(f"run {self._run} opened in {time.perf_counter() - began:.0f} s: {_in_words(opening['job'])}")
        return {"info": found}

    def _meter(self, file: SiteFile, size_bytes: int) -> None:
        """Count bytes that pass, either way.

        Raises:
            Failed: if they would be more than the owner permits in a day.
        """
        with self._metering:
            if Meter(self._kit / METER, file.policy.bytes_per_day).let_pass(size_bytes):
                return
        self.note(f"run {self._run}: {size_bytes:,} bytes more would be above the most of a day ({file.policy.bytes_per_day:,})")
        raise Failed("refused", "BytesPerDay")

    def _refuse(self, text: str) -> Plain:
        self.note(f"run {self._run} refused: {text}")
        return {"refused": text}

    @property
    def _log(self) -> Path:
        return self._kit / "runs" / self._run / "log.txt"

    def note(self, text: str) -> None:
        """Write a line into the site's own diary."""
        with (self._kit / DIARY).open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {printable(text)}\n")


def _in_words(job: dict[str, Any]) -> str:
    return f"{job['protocol']['kind']}, {job['tuning']['kind']}, at most {job['stop']['rounds']} rounds"
