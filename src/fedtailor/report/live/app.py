"""The pages of a run that is under way: one for people, and the stream that renews it."""

import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from ...printable import printable
from .state import State

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

POLL_S = 0.5
MOST_FEEDS = 20  # streams that are open at once
HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'nonce-{nonce}'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def app_of(state: State, token: str, port: int) -> Any:
    """Return the ASGI application: GET alone, under the token, to whoever names this machine as host."""
    from sse_starlette import EventSourceResponse
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import HTMLResponse, PlainTextResponse
    from starlette.routing import Route

    feeds = 0

    def known(request: "Request") -> bool:
        return secrets.compare_digest(request.path_params["token"].encode(), token.encode())

    async def home(request: "Request") -> "Response":
        if not known(request):
            return PlainTextResponse("not found", 404)
        nonce = secrets.token_urlsafe(16)
        try:
            text = await run_in_threadpool(state.page, nonce)
        except DataError as error:
            return PlainTextResponse(printable(str(error)), 500)
        return HTMLResponse(text, headers={"content-security-policy": POLICY.format(nonce=nonce)})

    async def events(request: "Request") -> Any:
        nonlocal feeds
        if not known(request):
            return PlainTextResponse("not found", 404)
        if feeds >= MOST_FEEDS:
            return PlainTextResponse("too many connections", 503)

        feeds += 1
        stream = EventSourceResponse(feed(state, request.headers.get("last-event-id", "")), headers=HEADERS)

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            nonlocal feeds
            try:
                await stream(scope, receive, send)
            finally:
                feeds -= 1

        return counted

    routes = [Route("/{token}/", home, methods=["GET"]), Route("/{token}/events", events, methods=["GET"])]
    return guarded(Starlette(routes=routes), port)


async def feed(state: State, seen: str) -> AsyncIterator[dict[str, str]]:
    """Yield the main part whenever the run has changed, and what it does meanwhile, until it has ended.

    Args:
        seen: the mark of what the browser has already.
    """
    import anyio
    from starlette.concurrency import run_in_threadpool

    said = ""
    while True:
        ended = state.ended()
        if state.mark() != seen and (ended or time.monotonic() >= state.next_drawing):
            seen, html = await run_in_threadpool(state.main)
            yield {"event": "main", "id": seen, "data": json.dumps(html)}
        if ended and state.mark() == seen:
            yield {"event": "end", "data": ""}
            return
        now = state.now()
        if now != said:
            said = now
            yield {"event": "now", "data": json.dumps(now)}
        await anyio.sleep(POLL_S)


def guarded(app: Any, port: int) -> Any:
    """Return an application that answers requests to this machine's own names alone (a page elsewhere may have its name point here)."""
    hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}

    async def checked(scope: Any, receive: Any, send: Any) -> None:
        named = [value for name, value in scope.get("headers", []) if name == b"host"]
        if scope["type"] != "http" or len(named) != 1 or named[0].lower() not in hosts:
            await send({"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"this page answers to 127.0.0.1 alone"})
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in there]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        await app(scope, receive, with_headers)

    return checked
