"""How models of pictures learn and make them: one way a file. What a backbone answers decides; see `Canvas.answers`."""

from ....pictures import Canvas
from .adversarial import Adversarial
from .denoising import Denoising
from .way import Shown, Way


def way_of(canvas: Canvas) -> Way:
    """Return the way of a model."""
    return Adversarial() if canvas.answers == "adversarial" else Denoising()


__all__ = ["Shown", "Way", "way_of"]
