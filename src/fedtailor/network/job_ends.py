"""What NVFlare makes at both ends of a job: the only two classes of ours that sites allow."""

import os
import socket

from ..federation.nvflare.flare import CollabLine, ServerPart, SitePart
from ..federation.nvflare.line import AGENT, Places
from ..records import ClientId
from .site.engine_end import EngineEnd


class AtServer(ServerPart):
    """The server's end."""

    def work(self, line: CollabLine, places: Places) -> None:
        """Carry the job out, and answer those who watch it."""
        from .server.server import Diary, work  # at the server alone: a site's engine loads nothing that trains

        diary = Diary()
        self.register(diary.answer)
        work(line, places, diary)


class AtSite(SitePart):
    """A site's end."""

    def make(self, name: ClientId, places: Places) -> EngineEnd:
        """Return what answers for the site: the way to its agent."""
        return EngineEnd(socket.socket(fileno=int(os.environ[AGENT])))
