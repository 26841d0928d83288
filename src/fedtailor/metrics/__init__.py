"""What the figures of merit are called and mean."""

from .figure import HIGHER_IS_BETTER

__all__ = ["HIGHER_IS_BETTER"]
