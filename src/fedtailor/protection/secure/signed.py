"""What clients sign in a secure sum: their keys, and all that the server has sent them before they open anything."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from ...records import ClientId
from .messages import AskShares


def of_keys(version: int, client: ClientId, sealing: str, masking: str) -> bytes:
    """Return what a client signs of its keys."""
    return f"fedtailor secure keys|{version}|{sealing}|{masking}|{client}".encode()


def of_lists(version: int, seen: Sequence[Any], lists: Any) -> bytes:
    """Return what a client signs before anything is opened: all that it was sent, as others were, and who answered and who did not.

    Args:
        seen: what `seen_of` makes of everybody's keys, and the clients whose shares were delivered.
    """
    text = json.dumps([version, *seen, lists], ensure_ascii=False).encode()
    return b"fedtailor secure lists|" + hashlib.sha256(text).digest()


def seen_of(asked: AskShares) -> list[Any]:
    """Return what of everybody's keys is signed."""
    return [asked.threshold, asked.most_examples, list(asked.clients), list(asked.sealing_keys), list(asked.masking_keys)]
