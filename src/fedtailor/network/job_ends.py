"""What NVFlare makes at both ends of a job: the only two classes of ours that sites allow."""

from ..federation.nvflare.flare import CollabLine, ServerPart, SitePart
from ..federation.nvflare.line import Places
from ..records import ClientId
from .server.server import Diary, work
from .site.site import Site


class AtServer(ServerPart):
    """The server's end."""

    def work(self, line: CollabLine, places: Places) -> None:
        """Carry the job out, and answer those who watch it."""
        diary = Diary()
        self.tell(diary.answer)
        work(line, places, diary)


class AtSite(SitePart):
    """A site's end."""

    def make(self, name: ClientId, places: Places) -> Site:
        """Return what answers for the site."""
        return Site(name, places.kit)
