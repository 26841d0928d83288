"""Asks a service that runs on this machine, over its socket."""

import http.client
import json
import socket
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from ..errors import RunError, SettingError

TIMEOUT_S = 600.0  # a question may wait for others, and for a reader


class _Local(http.client.HTTPConnection):
    def __init__(self, place: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._place = place

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._place))


def ask_service(place: Path, questions: Sequence[str], top_k: int | None) -> list[dict[str, Any]]:
    """Return the answers of a service to questions; none if nobody listens on its socket.

    Raises:
        SettingError: if a question cannot be answered, with what it says.
        RunError: if it does not answer.
    """
    if not place.is_socket():
        return []
    found = []
    for question in questions:
        body = {"question": question, **({} if top_k is None else {"top_k": top_k})}
        link = _Local(place)
        try:
            link.request("POST", "/ask", json.dumps(body).encode(), {"Content-Type": "application/json"})
            answer = link.getresponse()
            answered = json.loads(answer.read())
        except (ConnectionRefusedError, FileNotFoundError):
            return []  # it ended without removing its socket
        except (OSError, ValueError, http.client.HTTPException) as fault:
            raise RunError(
                f"the service at {place} does not answer ({type(fault).__name__}); stop it, or start it again"
            ) from None
        finally:
            link.close()
        if answer.status != HTTPStatus.OK:
            kind = SettingError if answer.status == HTTPStatus.BAD_REQUEST else RunError
            raise kind(f"the service at {place} says: {answered['error']['message']}")
        found.append(answered)
    return found
