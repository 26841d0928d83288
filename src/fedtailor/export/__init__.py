"""What becomes of a run's result: a folder that other tools load."""

from .result import Customized, export, load_customized, open_run

__all__ = ["Customized", "export", "load_customized", "open_run"]
