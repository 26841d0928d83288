"""What is kept from round to round: records of tensors alone, by the names that they have in a file."""

from ..errors import OffManifest, ResumeError
from ..records import Message
from ..tensors import Tensors
from .record import R, Record, read, write


def tensors_of(state: Record) -> Tensors:
    """Return a record of tensors alone, such as what a client keeps, by the names that they have in a file."""
    return write(state).tensors


def state_of(form: type[R], kept: Tensors) -> R:
    """Return what `tensors_of` gave as the record that it was.

    Raises:
        ResumeError: if there is a tensor that the record has no field for.
    """
    try:
        return read(Message(kind=form.kind, tensors=kept), form)
    except OffManifest:
        strange = ", ".join(sorted(kept)[:8])
        raise ResumeError(
            f"what was kept for the next round is not what this version keeps ({strange}); it was begun by another version: continue it with that one, "
            "or start a new run: fedtailor run RUN/job.yaml --out FOLDER"
        ) from None
