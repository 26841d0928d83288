"""What the server thinks of clients: those whose scores or centroids were wrong are not asked, or not believed."""

from collections import Counter
from dataclasses import dataclass, field

LIES = 3  # questions with a wrong cosine, from which on a client is not asked any more
LEAST_ASKED = 10  # questions before a client's centroids are judged
SLACK = 0.1  # that the nearest centroid may be nearer to a question than the best passage


@dataclass(kw_only=True)
class Standing:
    """Counts, by client."""

    lies: Counter[str] = field(default_factory=Counter)  # questions in which it stated a cosine that a passage does not have
    asked: Counter[str] = field(default_factory=Counter)  # questions that it was given for its centroids
    misled: Counter[str] = field(default_factory=Counter)  # of these, where its best passage was far from where its centroid is

    def to_plain(self) -> dict[str, dict[str, int]]:
        """Return the counts as plain values, of which `Standing` is made again."""
        return {name: dict(getattr(self, name)) for name in ("lies", "asked", "misled")}

    def is_sidelined(self, client: str) -> bool:
        """Return whether a client is not asked any more."""
        return self.lies[client] >= LIES

    def is_believed(self, client: str) -> bool:
        """Return whether a client's centroids count."""
        return self.asked[client] < LEAST_ASKED or self.misled[client] * 2 <= self.asked[client]

    def see(self, client: str, centroid: float, best: float) -> None:
        """Hold the cosine of a client's nearest centroid against that of its best passage."""
        self.asked[client] += 1
        self.misled[client] += best < centroid - SLACK

    def notes(self) -> list[str]:
        """Return a sentence for each client that is not asked, or not believed."""
        found = [
            f"client {client} is not asked any more: in {count} questions it stated a cosine that its passages do not have"
            for client, count in sorted(self.lies.items())
            if self.is_sidelined(client)
        ]
        found += [
            f"the centroids of client {client} count for nothing: in {self.misled[client]} of {self.asked[client]} questions nothing of it lay near them"
            for client in sorted(self.asked)
            if not self.is_believed(client)
        ]
        return found
