"""After the last round: each client aligns once more to the server's logits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...messages import state_of
from ...messages.work import Work
from ...records import ServerState
from ...tensors import Tensors
from .cost import last_length
from .fit import public_figures
from .messages import Align, Aligned
from .server import lesson
from .state import Taught
from .terms import Terms


@dataclass(frozen=True)
class LastAlignment:
    """See `usual.LastExchange`; with it goes what there is to say of the public set after a run."""

    terms: Terms

    section: ClassVar[str] = "distillation"
    what: ClassVar[str] = "the last alignment"
    form: ClassVar[type[Work]] = Aligned

    def request(self, state: ServerState, *, generate: bool) -> Align:
        """Return the server's logits once more."""
        return Align(version=state.version, generate=int(generate), **lesson(self.terms, state))

    def figures(self, state: ServerState) -> Mapping[str, Any]:
        """Return how well the public set fits."""
        return {"public_set": public_figures(self.terms.public, state_of(Taught, state.method))}

    def length(self, shared: Tensors, *, rounds: int) -> int:
        """Return the bytes of the request after so many rounds."""
        return last_length(self.terms, shared, rounds=rounds)
