"""What a task is to those who only name it."""

from typing import Protocol


class NamedTask(Protocol):
    """The settings of a task, see `tasks.Task`: what a client may have in the place of the job's."""

    @property
    def kind(self) -> str:
        """The name by which a job chooses it."""
