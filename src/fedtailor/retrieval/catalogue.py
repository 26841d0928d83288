"""Catalogues: what clients say of their indexes before the first question."""

from collections.abc import Mapping

from ..errors import SettingError
from .embedder import Embedder
from .messages import Catalogue, Describe
from .question import SentQuestion
from .router import Centroids, Router, Routing
from .share import permits


def routing_of(router: Router | None, catalogues: Mapping[str, Catalogue]) -> Routing | None:
    """Return which clients are asked, by the centroids in their catalogues.

    Raises:
        SettingError: if there is but one client.
    """
    if router is None:
        return None
    if len(catalogues) < 2:
        raise SettingError("router chooses among clients, and there is but one; leave it out")
    centroids = {
        name: Centroids(vectors=one.centroids.numpy(), sizes=one.sizes or [])
        for name, one in catalogues.items()
        if one.centroids is not None
    }
    return Routing(centroids=centroids, margin=router.margin)


def describe(router: Router | None, embedder: Embedder) -> Describe:
    """Return what asks for a catalogue, with centroids if clients are chosen by them."""
    return Describe(count=router.count if router else 0, smallest=router.smallest if router else 1, embedder=embedder.sha256)


def unfit(name: str, reported: Catalogue, share: str, embedder: Embedder, question: SentQuestion) -> str:
    """Return why a client cannot be asked, by its catalogue; empty if it can."""
    if not permits(reported.share, share):
        return f"share: {share} is more than client {name} allows, which is {reported.share}; ask for share: {reported.share}, or leave the client out"
    if reported.embedder != embedder.sha256 and (share != "passages" or not question.has_text):
        return (
            f"client {name} has another embedder ({reported.embedder[:12]}) than the server ({embedder.sha256[:12]}): their vectors do not compare; "
            "index there with the same one, or let it get the text of questions (question: text) and its passages be scored at the server "
            "(share: passages)"
        )
    return ""
