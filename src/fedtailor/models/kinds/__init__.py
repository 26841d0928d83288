"""The kinds of backbones: one a file, each with how it is loaded and what its head gives. A task names the one that it needs."""

from collections.abc import Mapping

from ...errors import SettingError
from .causal import Causal
from .classifier import Classifier
from .denoiser import Denoiser
from .embedder import Embedder
from .gan import Gan
from .kind import Kind, Loaded
from .reader import Reader

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (Causal(), Classifier(), Denoiser(), Embedder(), Gan(), Reader())}


def kind_of(name: str) -> Kind:
    """Return the kind of backbone that a task names.

    Raises:
        SettingError: if there is none of that name.
    """
    if name not in KINDS:
        raise SettingError(f"the task needs a backbone of the kind {name!r}, which is unknown; there is {', '.join(KINDS)}")
    return KINDS[name]


__all__ = ["KINDS", "Kind", "Loaded", "kind_of"]
