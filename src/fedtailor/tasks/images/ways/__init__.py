"""How models of pictures learn and make them: one way a file. What a backbone answers decides; see `Canvas.answers`."""

from ....pictures import Canvas
from ..diffusion import Diffusion
from ..flow import Flow
from .adversarial import Adversarial
from .denoising import Denoising
from .way import Shown, Way


def way_of(canvas: Canvas) -> Way:
    """Return the way of a model."""
    if canvas.answers == "adversarial":
        return Adversarial()
    return Denoising(path=Flow() if canvas.answers == "flow" else Diffusion(kept=canvas.kept, answers=canvas.answers))


__all__ = ["Shown", "Way", "way_of"]
